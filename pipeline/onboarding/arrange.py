"""Which rows make a day: those of a day of the time column; without one, or with few rows a day, a batch of rows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Literal

import numpy as np
import pandas as pd

from core.days import Days, grouped, shuffled
from core.errors import DataError
from pipeline.onboarding.kinds import Column
from pipeline.onboarding.target import Target

MIN_DAYS, MIN_ROWS_A_DAY = 20, 10  # below either, nights would see too little: rows are put into batches
FEWEST_BATCHES, MOST_BATCHES, BATCH_ROWS = 24, 90, 20
SORTED_SHARE = 0.5  # of the target's variance that lies between batches: by chance one over the batch's rows
SEED = 20130101
BIRTH = re.compile(r"birth|born|dob|geb(oren|urt)|nacimiento|naissance", re.IGNORECASE)
Order = Literal["time", "arrival", "shuffled", "groups"]


@dataclass(frozen=True)
class Arrangement:
    """How data.py makes days. `batch` is None for days of the time column."""

    days: Days
    time: str | None = None  # column that orders the rows, or gives the days
    batch: int | None = None
    first: date | None = None  # day of the first batch
    order: Order = "time"
    groups: str | None = None
    among: int = 0  # rows or groups that are shuffled
    notes: list[str] = field(default_factory=list)


def event_time(columns: Mapping[str, Column], asked: str | None, today: date) -> tuple[str | None, list[str]]:
    """The column of the event's time, if there is one; raises DataError when the one asked for is no such column."""
    if asked is not None:
        if reason := _against(columns[asked], today):
            raise DataError(f"--time {columns[asked].source!r}: {reason}. Name another one, or leave --time out")
        return asked, []
    moments = [name for name, column in columns.items() if column.kind == "datetime"]
    fit = [name for name in moments if not BIRTH.search(name) and not _against(columns[name], today)]
    if len(fit) == 1:
        return fit[0], [f"{fit[0]} is taken for the time of an event, since it is the only column that can be"]
    if fit:
        return None, [f"{', '.join(fit)} could each be the time of an event: say which with --time"]
    return None, []


def _against(column: Column, today: date) -> str | None:
    """Why a column is not the time of an event."""
    values = column.values.dropna()
    if column.kind != "datetime":
        return _what_instead(column)
    if (future := float((values > pd.Timestamp(today + timedelta(days=2))).mean())) > 0.01:
        until = f"up to {values.max():%Y-%m-%d}"
        return f"{future:.0%} of its moments are in the future ({until}); is it a deadline or a plan?"
    if values.dt.normalize().nunique() == 1:
        return f"every row is of {values.iloc[0]:%Y-%m-%d}, so it orders nothing by day"
    if column.missing > 0.02:
        return f"{column.missing:.0%} of the rows have none, and a row without a time belongs to no day"
    return None


def _what_instead(column: Column) -> str:
    values = column.values.dropna()
    if column.kind == "number" and set(np.diff(values.to_numpy())) <= {1.0}:
        return "it counts the rows; it is no moment"
    if column.kind == "number":
        return f"it holds numbers from {values.min():g} to {values.max():g}: a duration or an amount, not a moment"
    if column.kind in ("category", "text") and values.str.fullmatch(r"\d{1,2}:\d\d(:\d\d)?").mean() > 0.9:
        return f"it holds times of day, such as {values.iloc[0]}, without a date"
    if not len(values) or values.nunique() == 1:
        return "it is the same in every row"
    return (
        f"values such as {values.iloc[0]!r} are read by no format that is known here, at least not nearly all of them"
    )


def arrange(
    columns: Mapping[str, Column], target: Target, time: str | None, groups: str | None, today: date
) -> Arrangement:
    """Days of the time column where they hold enough rows, else batches, the last of which is yesterday."""
    rows = pd.DataFrame({name: column.values for name, column in columns.items()}).assign(_y=target.y)
    if time is not None:
        days = Days.by_time(rows, time)
        counts = np.unique(days.days, return_counts=True)[1]
        dense = len(counts) >= MIN_DAYS and np.median(counts) >= MIN_ROWS_A_DAY
        if dense and len(counts) >= 0.5 * ((days.days[-1] - days.days[0]).astype(int) + 1):
            return Arrangement(days, time, groups=groups)
        few = f"{time} has {len(counts):,} days with rows, {np.median(counts):g} on a usual one"
        note = f"{few}, too few for nights: rows are put into batches in the order of {time}"
        return replace(_batches(rows.sort_values(time, kind="stable"), time, "time", today, [note]), groups=groups)
    if groups is not None:
        return _whole_groups(rows, groups, today)
    return _arrivals(rows, target, today)


def _whole_groups(rows: pd.DataFrame, groups: str, today: date) -> Arrangement:
    if (missing := float(rows[groups].isna().mean())) > 0:
        raise DataError(f"--group {groups}: {missing:.0%} of the rows have none, and a batch is made of whole groups")
    count = rows[groups].nunique()
    if count < FEWEST_BATCHES:
        raise DataError(f"--group {groups} has {count} groups; {FEWEST_BATCHES} are needed for batches of whole groups")
    size = max(1, len(rows) // min(MOST_BATCHES, _batch_count(len(rows)), count))
    together = grouped(rows, groups, SEED, count)
    made = len(Days.by_batch(together, today, size, groups).all)
    if made < MIN_DAYS:
        raise DataError(
            f"--group {groups}: its groups are so unequal that they make {made} batches; {MIN_DAYS} are needed"
        )
    first = today - timedelta(days=made)
    days = Days.by_batch(together, first, size, groups)
    note = f"rows are put into batches of whole groups of {groups}, the groups in a fixed random order"
    return Arrangement(days, None, size, first, "groups", groups, count, [note])


def _arrivals(rows: pd.DataFrame, target: Target, today: date) -> Arrangement:
    size = len(rows) // _batch_count(len(rows))
    if not is_sorted(target, size):
        note = "rows are put into batches as they lie: the order of the table is taken for the order of arrival"
        return _batches(rows, None, "arrival", today, [note])
    note = (
        f"the table is sorted by {target.source}, so its order cannot be that of arrival: the rows are shuffled with a "
        "fixed seed. If the order is one of time, name the column with --time"
    )
    return _batches(shuffled(rows, SEED, len(rows)), None, "shuffled", today, [note])


def _batches(rows: pd.DataFrame, time: str | None, order: Order, today: date, notes: list[str]) -> Arrangement:
    size = len(rows) // _batch_count(len(rows))
    first = today - timedelta(days=len(rows) // size)
    return Arrangement(Days.by_batch(rows, first, size), time, size, first, order, among=len(rows), notes=notes)


def _batch_count(rows: int) -> int:
    return min(MOST_BATCHES, max(FEWEST_BATCHES, rows // BATCH_ROWS))


def is_sorted(target: Target, size: int) -> bool:
    """Whether the rows lie in the order of the target: classes in blocks, or numbers rising or falling throughout."""
    y = target.known
    if target.task == "regression":
        steps = np.diff(y)
        return bool(max((steps >= 0).mean(), (steps <= 0).mean()) > 0.99)
    batch, classes = np.arange(len(y)) // size, np.unique(y)
    means = [np.bincount(batch, weights=y == value) / np.bincount(batch) for value in classes]
    between = sum(float(np.var(mean[batch])) for mean in means)
    return between / sum(float(np.var(y == value)) for value in classes) > SORTED_SHARE
