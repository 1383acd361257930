"""Stage `validate`: check every partition of the window and quarantine the bad ones, with reasons.

Raw data are not changed: the stages after this one leave the quarantined days out. It judges data, not models.
"""

import json
import logging
from collections.abc import Set
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage, logs
from core.columns import event_day, flat, from_frame, is_missing, offset_name
from core.config import params
from core.errors import DataError
from core.schema import Column, ProblemSpec
from core.task import of
from pipeline import raw
from problems import load

OUT = Path("data/validation.json")
log = logging.getLogger(__name__)


def check(spec: ProblemSpec, partitions: raw.Partitions) -> dict[str, list[str]]:
    """Reasons against each partition, by day (ISO); an empty list is a good day."""
    for name in (raw.EVENTS, raw.LABELS):
        if not any(name in tables for tables in partitions.values()):
            raise DataError(
                f"a problem's data.py must give the tables {raw.EVENTS} and {raw.LABELS}; no day has {name}"
            )
    usual = float(np.median([len(tables.get(raw.EVENTS, ())) for tables in partitions.values()]))
    out: dict[str, list[str]] = {}
    seen: set[str] = set()  # ids of the good days so far
    for day, tables in sorted(partitions.items()):
        absent = [f"table {name} is absent" for name in (raw.EVENTS, raw.LABELS) if name not in tables]
        out[day] = absent or [
            *check_events(spec, date.fromisoformat(day), tables[raw.EVENTS], usual, seen),
            *check_labels(spec, tables[raw.LABELS]),
        ]
        if not out[day]:
            seen.update(tables[raw.EVENTS][spec.id])
    return out


def quarantined(spec: ProblemSpec, folder: Path) -> dict[str, list[str]]:
    """The bad partitions of a folder, with reasons against each."""
    bad = {day: reasons for day, reasons in check(spec, raw.by_day(folder)).items() if reasons}
    for day, reasons in bad.items():
        log.warning("partition %s is quarantined: %s", day, "; ".join(reasons))
    return bad


def check_events(
    spec: ProblemSpec, day: date, events: pd.DataFrame, usual_rows: float, seen: Set[str] = frozenset()
) -> list[str]:
    """`seen`: ids of earlier days, which may not come again. A day may be empty where quality.smallest_share is 0."""
    smallest = spec.quality.smallest_share
    if len(events) < usual_rows * smallest or (smallest and not len(events)):
        return [f"{len(events)} events; a usual day has {usual_rows:.0f}"]
    if not len(events):
        return []
    absent = [name for name in spec.columns if name not in events.columns]
    absent += [offset_name(n) for n in spec.datetimes if offset_name(n) not in events.columns]
    if absent:
        return [f"columns are absent: {', '.join(absent)}"]
    reasons = [reason for name in spec.columns if (reason := _check_column(spec, name, events))]
    if repeated := int(events[spec.id].duplicated().sum()):
        reasons.append(f"{spec.id}: {repeated} ids occur more than once")
    if old := len(set(events[spec.id]) & seen):
        reasons.append(f"{spec.id}: {old} ids are those of earlier days")
    if not reasons and (event_day(spec, from_frame(spec, events)) != np.datetime64(day)).any():
        reasons.append(f"{spec.time}: some events are not of {day}")
    return reasons


def check_labels(spec: ProblemSpec, labels: pd.DataFrame) -> list[str]:
    absent = [name for name in (spec.id, spec.target) if name not in labels.columns]
    if absent:
        return [f"labels have no column {', '.join(absent)}"]
    if not len(labels):
        return []
    if not _is_text(labels[spec.id]):
        return [f"labels: {spec.id}: expected text, got {labels[spec.id].dtype}"]
    if not spec.classes and not pd.api.types.is_numeric_dtype(labels[spec.target]):
        return [f"{spec.target}: expected numbers, got {labels[spec.target].dtype}"]
    reasons = []
    if wrong := int(np.isnan(of(spec).encode(labels[spec.target])).sum()):
        reasons.append(f"{spec.target}: {wrong} labels are {_not_allowed(spec)}")
    if repeated := int(labels[spec.id].duplicated().sum()):
        reasons.append(f"{spec.id}: {repeated} events are labelled more than once")
    return reasons


def _not_allowed(spec: ProblemSpec) -> str:
    if spec.classes:
        return f"none of {', '.join(spec.classes)}"
    return "neither 0 nor 1" if spec.task == "binary" else "not finite numbers"


def _check_column(spec: ProblemSpec, name: str, events: pd.DataFrame) -> str | None:
    """A request may leave out its time; the table may not."""
    column, values = spec.columns[name], events[name]
    if (not column.optional or name == spec.time) and (gone := float(values.isna().mean())) > 0:
        return f"{name}: {gone:.1%} of the values are missing"
    if column.type in ("string", "category") and not _is_text(values):
        return f"{name}: expected text, got {values.dtype}"
    if column.type == "datetime":
        if not pd.api.types.is_datetime64_dtype(values):
            return f"{name}: expected UTC datetimes without a zone, got {values.dtype}"
        if (events[offset_name(name)].isna() & values.notna()).any():
            return f"{offset_name(name)}: some values are missing"
    if column.type == "number":
        if not pd.api.types.is_numeric_dtype(values):
            return f"{name}: expected numbers, got {values.dtype}"
        return _check_range(spec, name, values.dropna().to_numpy(np.float64))
    if column.type == "array":
        arrays = [_numbers(value) for value in values if not is_missing(value)]
        if wrong := sum(len(a) != column.size or not np.isfinite(a).all() for a in arrays):
            return f"{name}: {wrong} values are not {column.size} numbers"
        return _check_range(spec, name, np.concatenate(arrays)) if arrays else None
    return None


def _check_range(spec: ProblemSpec, name: str, values: np.ndarray) -> str | None:
    column: Column = spec.columns[name]
    low = -np.inf if column.min is None else column.min
    high = np.inf if column.max is None else column.max
    outside = ~((values >= low) & (values <= high))
    if len(values) and (share := float(outside.mean())) > spec.quality.out_of_range_share:
        return f"{name}: {share:.1%} of the values are outside {low}..{high} {column.unit or ''}".rstrip()
    return None


def _is_text(values: "pd.Series[Any]") -> bool:
    return isinstance(values.dtype, pd.StringDtype) or all(isinstance(v, str) for v in values.dropna())


def _numbers(value: Any) -> np.ndarray:
    """An array's numbers; none where it holds anything else."""
    try:
        return flat(value).astype(np.float64)
    except (TypeError, ValueError):
        return np.array([])


def run() -> None:
    problem = load(params().problem)
    folder = Path(lineage.RAW)
    bad, total = quarantined(problem.spec, folder), sum(1 for path in folder.iterdir() if path.is_dir())
    log.info("%d partitions, %d quarantined", total, len(bad))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"partitions": total, "quarantined": bad}, indent=1))


if __name__ == "__main__":
    logs.configure()
    run()
