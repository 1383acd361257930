"""What each column is used for: feature, id, time, group, or left out, with the reason."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from core.errors import DataError
from pipeline.onboarding import leaks
from pipeline.onboarding.kinds import ID_NAME, Column
from pipeline.onboarding.target import Target

LEFT_OUT, FEATURE = "left out", "feature"
MADE_ID = "row_id"  # of a table without an id: data.py numbers the rows of a day
UNUSABLE = {
    "empty": "it has no values",
    "constant": "it is the same in every row",
    "nested": "it holds lists; features.py can read those when you describe them as an array",
}
PARTS = ("hour", "weekday", "month")
MOSTLY_MISSING = 0.98
LATER_SHARE = 0.05  # of the rows in which a moment lies after the event: it cannot be known then


@dataclass(frozen=True)
class Fixed:
    """The columns with a part of their own, by identifier."""

    id: str | None
    time: str | None
    group: str | None
    short: bool  # the days of `time` are the loop's, and few: a month would stand for single days of it


@dataclass(frozen=True)
class Role:
    """`features`: feature -> kind. `warning` is for the user's eyes: left out loudly, or to be checked."""

    use: str
    note: str = ""
    warning: str = ""
    features: dict[str, str] = field(default_factory=dict)


def event_id(columns: Mapping[str, Column], asked: str | None, taken: Collection[str | None]) -> tuple[str | None, str]:
    """The column that identifies a row, if there is one, and a sentence about it."""
    if asked is not None:
        values = columns[asked].values
        if values.isna().any():
            raise DataError(f"--id {columns[asked].source!r}: {values.isna().sum()} rows have none")
        if repeated := int(values.duplicated().sum()):
            first = values[values.duplicated()].iloc[0]
            raise DataError(
                f"--id {columns[asked].source!r} is not unique: {repeated} repeated values, such as {first!r}"
            )
        return asked, f"{asked} identifies a row"
    for name, column in columns.items():
        unique = column.kind != "constant" and column.distinct == len(column.values)
        if name not in taken and unique and column.looks_like_an_id and ID_NAME.search(column.source):
            return name, f"{name} is taken for the id: each row has its own, and the name says so"
    return None, f"no column is an id, so data.py makes one: {MADE_ID}, the day and the row's number in it"


def decide(columns: Mapping[str, Column], target: Target, fixed: Fixed, keep: Collection[str]) -> dict[str, Role]:
    """The role of every column."""
    time = columns[fixed.time].values if fixed.time else None
    return {name: _role(column, target, fixed, time, name in keep) for name, column in columns.items()}


def _role(column: Column, target: Target, fixed: Fixed, time: pd.Series | None, keep: bool) -> Role:
    if column.name == fixed.time:
        return Role("time", features=_of_moments(column, None, PARTS[:2] if fixed.short else PARTS))
    if column.name == fixed.id:
        return Role("id")
    if column.name == fixed.group:
        return Role("group", "a new group is new to the model, so it is no feature")
    if column.kind in UNUSABLE:
        return Role(LEFT_OUT, UNUSABLE[column.kind])
    against = None if keep else _against(column, target, time)
    if against is not None:
        return against
    score = leaks.alone(column.values, target.y, target.task)
    strong = f"alone it has {leaks.measure(target.task)} {score:.2f}: is it known at prediction time?"
    check = strong if score >= leaks.STRONG else ""
    return Role(FEATURE, "kept as asked" if keep else "", check, _features(column, time))


def _against(column: Column, target: Target, time: pd.Series | None) -> Role | None:
    """Why a column is no feature."""
    if column.looks_like_an_id:
        return Role(LEFT_OUT, "like an id", f"almost every row has its own value, as an id has: {_keep(column)}")
    if column.missing > MOSTLY_MISSING:
        return Role(LEFT_OUT, f"missing in {column.missing:.1%} of the rows")
    if column.kind == "text":
        return Role(LEFT_OUT, f"{column.distinct:,} different texts: no categories")
    if column.kind == "datetime" and time is not None and (column.values > time).mean() > LATER_SHARE:
        share = (column.values > time).mean()
        return Role(
            LEFT_OUT, "later than the event", f"in {share:.0%} of the rows it is after the event: {_keep(column)}"
        )
    scores = [leaks.alone(values, target.y, target.task) for values in _readings(column, time)]
    if max(scores) >= leaks.COPY:
        says = (
            f"alone it has {leaks.measure(target.task)} {max(scores):.4f}, nearly a copy of the target: {_keep(column)}"
        )
        return Role(LEFT_OUT, "nearly the target", says)
    return None


def _readings(column: Column, time: pd.Series | None) -> list[pd.Series]:
    """The values, whether they are missing, and how long before the event they lie."""
    readings = [column.values]
    if column.kind == "datetime" and time is not None:
        readings.append((time - column.values).dt.total_seconds())
    return readings


def _keep(column: Column) -> str:
    return f"left out (--keep {column.source!r} keeps it)"


def _features(column: Column, time: pd.Series | None) -> dict[str, str]:
    if column.kind == "datetime":
        return _of_moments(column, time)
    return {column.name: "number" if column.kind == "number" else "category"}


def _of_moments(column: Column, time: pd.Series | None, parts: Sequence[str] = PARTS) -> dict[str, str]:
    """Parts of the date where they differ, and the days before the event."""
    found = [part for part in parts if getattr(column.values.dropna().dt, part).nunique() > 1]
    if time is not None:
        found.append("days_before")
    return {f"{column.name}_{part}": "number" for part in found}
