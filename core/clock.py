"""The loop's calendar: which day it is for a problem, and when a day's cut-off falls. It never asks for now."""

from calendar import isleap
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from core.schema import Clock


def replayed(clock: Clock, today: date) -> date:
    """The problem's date of a calendar date: the same, or that of the year it replays (29 February may become 28)."""
    if clock.latest is not None and today > clock.latest:
        return clock.latest
    if clock.replay_year is None:
        return today
    leaps = (today.month, today.day) == (2, 29) and not isleap(clock.replay_year)
    return (today - timedelta(days=1) if leaps else today).replace(year=clock.replay_year)


def cutoff(clock: Clock, day: date) -> np.datetime64:
    """The nightly cut-off of a day, UTC: what is known by then belongs to the partitions before this day."""
    local = datetime(day.year, day.month, day.day, clock.cutoff_hour, tzinfo=ZoneInfo(clock.timezone))
    return np.datetime64(int(local.timestamp()), "s")
