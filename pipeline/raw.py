"""Raw partitions: ingest a day once, list the days of a window as one data version, read them back.

A partition is what became known between the cut-offs of its day and of the next. It is never rewritten: a day
whose rows changed at the source gets a new version, and the message says so.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Engine

from core import catalogue, lineage
from core.errors import DataError
from core.schema import Split
from problems import Problem

EVENTS, LABELS = "events", "labels"  # the two tables that every problem has
Partitions = dict[str, dict[str, pd.DataFrame]]  # day (ISO) -> table -> rows
PARTITION = "partition"  # column that read() adds: the day of the partition a row came from
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingested:
    """What one call brought: days that are new, and days that were there with other rows."""

    new: list[date]
    changed: list[date]


def window(split: Split, as_of: date) -> tuple[date, date]:
    """First and last day that a run as of this day may use."""
    return as_of - timedelta(days=split.window_days), as_of - timedelta(days=1)


def ingest(engine: Engine, problem: Problem, remote: str, days: Sequence[date]) -> Ingested:
    """Fetch the days' partitions from the source and keep them. Days with the same rows as before change nothing."""
    if not days:
        return Ingested([], [])
    with tempfile.TemporaryDirectory() as folder:
        files = [(day, *item) for day in days for item in _write(problem, day, Path(folder))]
        sent = lineage.push_files(remote, [path for _, _, path, _ in files])
    tables: dict[date, list[dict[str, Any]]] = {day: [] for day in days}
    for (day, table, _, rows), file in zip(files, sent, strict=True):
        tables[day].append({"table": table, "rows": rows, **file})
    result = Ingested([], [])
    name = problem.spec.name
    known = known_days(engine, problem, min(days), max(days))
    for day in days:
        if catalogue.add(engine, name, day, tables[day]):
            (result.changed if day in known else result.new).append(day)
    for day in result.changed:
        log.warning("partition %s of %s has other rows than before: a new data version was made", day, name)
    return result


def known_days(engine: Engine, problem: Problem, first: date, last: date) -> set[date]:
    """Days of the span that have a partition. A source may have none on some days."""
    return {row["day"] for row in catalogue.current(engine, problem.spec.name, first, last)}


def missing_days(engine: Engine, problem: Problem, first: date, last: date) -> list[date]:
    """Days of the span that the source has and the catalogue has not."""
    have = known_days(engine, problem, first, last)
    span = (first + timedelta(days=i) for i in range((last - first).days + 1))
    return [day for day in span if day not in have and problem.data.covers(day)]


def data_version(engine: Engine, problem: Problem, remote: str, as_of: date) -> dict[str, Any]:
    """The lock entry of the window's partitions: it depends on their content alone, not on when they came."""
    first, last = window(problem.spec.split, as_of)
    rows = catalogue.current(engine, problem.spec.name, first, last)
    days = {row["day"] for row in rows}
    if len(days) < problem.spec.split.min_train_days + problem.spec.split.holdout_days:
        raise DataError(
            f"only {len(days)} days of data before {as_of}; {problem.spec.split.min_train_days} to train and "
            f"{problem.spec.split.holdout_days} to judge are needed. Ingest earlier days, or wait."
        )
    return lineage.push_folder_listing(remote, {_path(row): row for row in rows})


@contextmanager
def fetched(engine: Engine, problem: Problem, remote: str, first: date, last: date) -> Iterator[Path]:
    """A folder with the partitions of a span of days, from the remote."""
    rows = catalogue.current(engine, problem.spec.name, first, last)
    if not rows:
        raise DataError(f"no partition of {problem.spec.name} between {first} and {last}; ingest them first")
    with tempfile.TemporaryDirectory() as folder:
        lineage.fetch_files(remote, {_path(row): row["md5"] for row in rows}, Path(folder))
        yield Path(folder)


def read(folder: Path, leave_out: frozenset[str] = frozenset()) -> dict[str, pd.DataFrame]:
    """All partitions of a folder DAY/TABLE.parquet as one frame a table, ordered by day, with column `partition`."""
    parts: dict[str, list[pa.Table]] = {}
    for day in _days(folder):
        for path in sorted(day.glob("*.parquet")) if day.name not in leave_out else ():
            table = pq.read_table(path)
            stamp = pa.array([date.fromisoformat(day.name)] * len(table), pa.date32())
            parts.setdefault(path.stem, []).append(table.append_column(PARTITION, stamp))
    return {name: pa.concat_tables(tables, promote_options="permissive").to_pandas() for name, tables in parts.items()}


def by_day(folder: Path) -> Partitions:
    """Each partition of such a folder by itself: what is wrong with one does not touch the others."""
    return {
        day.name: {p.stem: pq.read_table(p).to_pandas() for p in sorted(day.glob("*.parquet"))} for day in _days(folder)
    }


def _path(row: Mapping[str, Any]) -> str:
    return f"{row['day']}/{row['table']}.parquet"


def _days(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _write(problem: Problem, day: date, folder: Path) -> list[tuple[str, Path, int]]:
    tables: dict[str, pd.DataFrame] = problem.data.partition(day)
    out = []
    for name, frame in sorted(tables.items()):
        path = folder / f"{day}-{name}.parquet"
        frame.to_parquet(path, index=False)
        out.append((name, path, len(frame)))
    return out
