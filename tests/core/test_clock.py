"""The loop's calendar: the problem's day, and when its cut-off falls."""

from datetime import date, timedelta

import numpy as np
import pytest

from core.clock import cutoff, replayed
from core.schema import Clock

NEW_YORK = Clock(timezone="America/New_York", cutoff_hour=4, replay_year=2013)


def test_a_replay_takes_the_same_day_of_its_year_and_28_for_29_february() -> None:
    assert replayed(NEW_YORK, date(2026, 11, 21)) == date(2013, 11, 21)
    assert replayed(NEW_YORK, date(2028, 2, 29)) == date(2013, 2, 28)
    assert replayed(NEW_YORK, date(2028, 2, 28)) == date(2013, 2, 28)
    assert replayed(Clock(replay_year=2012), date(2028, 2, 29)) == date(2012, 2, 29)
    assert replayed(Clock(), date(2028, 2, 29)) == date(2028, 2, 29)


def test_for_a_table_that_has_stopped_growing_today_is_never_later_than_its_end() -> None:
    ended = Clock(latest=date(2021, 6, 30))
    assert replayed(ended, date(2026, 11, 21)) == date(2021, 6, 30)
    assert replayed(ended, date(2021, 6, 29)) == date(2021, 6, 29)


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        (date(2013, 3, 9), "2013-03-09T09:00:00"),
        (date(2013, 3, 10), "2013-03-10T08:00:00"),
        (date(2013, 11, 2), "2013-11-02T08:00:00"),
        (date(2013, 11, 3), "2013-11-03T09:00:00"),
    ],
)
def test_the_cut_off_keeps_its_local_hour_when_clocks_change(day: date, utc: str) -> None:
    assert str(cutoff(NEW_YORK, day)) == utc


def test_cut_offs_are_in_order_every_day_of_a_year() -> None:
    days = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]
    hours = np.diff(np.array([cutoff(NEW_YORK, day) for day in days])).astype("timedelta64[h]").astype(int)
    assert sorted(set(hours.tolist())) == [23, 24, 25]
