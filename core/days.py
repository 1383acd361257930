"""Rows by day, for a problem's data.py: by a time column or, without one, in batches of arrivals that are called days.

A batch counts once it is full, so rows that are added to a table later make new batches and change none. Nothing is
read here (core.tables).
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd

from core.columns import offset_name
from core.schema import ProblemSpec

ARRIVED_AT = "arrived_at"  # the time column of a problem that has none of its own
DAY_S = 24 * 60 * 60


@dataclass(frozen=True)
class Days:
    """Rows sorted by day. `rows` and `days` (datetime64[D], shape (n,)) are in the same order."""

    rows: pd.DataFrame
    days: np.ndarray

    @classmethod
    def by_time(cls, rows: pd.DataFrame, time: str) -> "Days":
        """By the UTC day of a datetime column. A row without one is on no day."""
        timed = rows[rows[time].notna()].sort_values(time, kind="stable", ignore_index=True)
        return cls(timed, timed[time].to_numpy("datetime64[D]"))

    @classmethod
    def by_batch(cls, rows: pd.DataFrame, first: date, size: int, groups: str | None = None) -> "Days":
        """Batch i, `size` rows in their order, is the day first + i; `arrived_at` spreads them over it.

        With `groups`, a column by which the rows are together, a batch is whole groups: `size` rows or some more.
        """
        batch = _fixed(len(rows), size) if groups is None else _whole(rows[groups], size)
        starts = np.searchsorted(batch, batch)
        sizes = np.searchsorted(batch, batch, side="right") - starts
        second = (np.arange(len(batch)) - starts) * DAY_S // sizes
        days = np.datetime64(first, "D") + batch.astype("timedelta64[D]")
        at = days.astype("datetime64[s]") + second.astype("timedelta64[s]")
        return cls(rows.iloc[: len(batch)].assign(**{ARRIVED_AT: at, offset_name(ARRIVED_AT): 0.0}), days)

    def numbered(self, name: str) -> "Days":
        """With an id, a day and the row's number in it: as stable as the rows of the day and their order."""
        number = np.arange(len(self.days)) - np.searchsorted(self.days, self.days)
        ids = [f"{day}-{n:05d}" for day, n in zip(self.days.tolist(), number.tolist(), strict=True)]
        return Days(self.rows.assign(**{name: ids}), self.days)

    @cached_property
    def all(self) -> frozenset[date]:
        """The days that have rows."""
        return frozenset(np.unique(self.days).tolist())

    def on(self, day: date) -> pd.DataFrame:
        """The rows of a day; none where there are none."""
        start, stop = np.searchsorted(self.days, [np.datetime64(day, "D"), np.datetime64(day, "D") + 1])
        return self.rows.iloc[start:stop].reset_index(drop=True)


def shuffled(rows: pd.DataFrame, seed: int, among: int) -> pd.DataFrame:
    """The first `among` rows in a fixed random order, then the others as they lie: later rows move no earlier one."""
    return rows.iloc[_shuffle(len(rows), seed, among)].reset_index(drop=True)


def grouped(rows: pd.DataFrame, column: str, seed: int, among: int) -> pd.DataFrame:
    """The rows of a group together; the first `among` groups to appear in a fixed random order, then later ones."""
    code, groups = pd.factorize(rows[column])
    place = np.argsort(_shuffle(len(groups), seed, among))
    return rows.iloc[np.argsort(place[code], kind="stable")].reset_index(drop=True)


def partition(spec: ProblemSpec, events: pd.DataFrame, known: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The two tables of a day: its events without their outcome, and of `known` the outcomes that are not missing."""
    columns = [*spec.columns, *(offset_name(name) for name in spec.datetimes)]
    labels = known.loc[known[spec.target].notna(), [spec.id, spec.target]]
    return {"events": events[columns], "labels": labels.reset_index(drop=True)}


def _shuffle(n: int, seed: int, among: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(min(among, n))
    return np.concatenate([order, np.arange(len(order), n)])


def _fixed(rows: int, size: int) -> np.ndarray:
    """The batch of each row of the full batches."""
    return np.arange(rows // size * size) // size


def _whole(groups: pd.Series, size: int) -> np.ndarray:
    """The batch of each row of the full batches of whole groups."""
    code = pd.factorize(groups)[0]
    batches, filled = [0], 0
    for count in np.bincount(code).tolist():
        filled += count
        batches.append(batches[-1] + (filled >= size))
        filled = 0 if filled >= size else filled
    of_row = np.array(batches, np.int64)[code]
    return of_row[of_row < batches[-1]]
