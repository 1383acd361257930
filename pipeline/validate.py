"""Stage `validate`: check every partition of the window and quarantine the bad ones, with reasons.

Raw data are not changed: the stages after this one leave the quarantined days out. It judges data, not models.
"""

import json
import logging
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, logs
from core.columns import event_day, from_frame, offset_name
from core.config import params
from core.errors import DataError
from core.schema import ProblemSpec
from pipeline import raw
from problems import load

OUT = Path("data/validation.json")
OUT_OF_RANGE_SHARE = 0.01
SMALLEST_SHARE_OF_MEDIAN = 0.25
log = logging.getLogger(__name__)


def check(spec: ProblemSpec, tables: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Reasons against each partition, by day (ISO); an empty list is a good day."""
    if raw.EVENTS not in tables or raw.LABELS not in tables:
        raise DataError(f"a problem's data.py must give the tables {raw.EVENTS} and {raw.LABELS}; got {sorted(tables)}")
    events, labels = tables[raw.EVENTS], tables[raw.LABELS]
    days = sorted({day for table in tables.values() for day in table[raw.PARTITION].unique()})
    events_of, labels_of = dict(list(events.groupby(raw.PARTITION))), dict(list(labels.groupby(raw.PARTITION)))
    usual = float(events[raw.PARTITION].value_counts().median()) if len(events) else 0.0
    none_of_these = events.iloc[:0], labels.iloc[:0]
    return {
        str(day): [
            *check_events(spec, day, events_of.get(day, none_of_these[0]), usual),
            *check_labels(spec, labels_of.get(day, none_of_these[1])),
        ]
        for day in days
    }


def check_events(spec: ProblemSpec, day: date, events: pd.DataFrame, usual_rows: float) -> list[str]:
    if len(events) < usual_rows * SMALLEST_SHARE_OF_MEDIAN or not len(events):
        return [f"{len(events)} events; a usual day has {usual_rows:.0f}"]
    absent = [name for name in spec.columns if name not in events.columns]
    absent += [offset_name(n) for n in spec.datetimes if offset_name(n) not in events.columns]
    if absent:
        return [f"columns are absent: {', '.join(absent)}"]
    reasons = [reason for name in spec.columns if (reason := _check_column(spec, name, events[name]))]
    if repeated := int(events[spec.id].duplicated().sum()):
        reasons.append(f"{spec.id}: {repeated} ids occur more than once")
    if not reasons and (event_day(spec, from_frame(spec, events)) != np.datetime64(day)).any():
        reasons.append(f"{spec.time}: some events are not of {day}")
    return reasons


def check_labels(spec: ProblemSpec, labels: pd.DataFrame) -> list[str]:
    if spec.target not in labels.columns:
        return [f"labels have no column {spec.target}"]
    values = labels[spec.target]
    wrong = int((~values.isin([0.0, 1.0])).sum())
    return [f"{spec.target}: {wrong} labels are neither 0 nor 1"] if wrong else []


def _check_column(spec: ProblemSpec, name: str, values: pd.Series) -> str | None:
    column = spec.columns[name]
    if not column.optional and (gone := float(values.isna().mean())) > 0:
        return f"{name}: {gone:.1%} of the values are missing"
    if column.type == "number":
        if not pd.api.types.is_numeric_dtype(values):
            return f"{name}: expected numbers, got {values.dtype}"
        low = -np.inf if column.min is None else column.min
        high = np.inf if column.max is None else column.max
        if (share := float((~values.dropna().between(low, high)).mean())) > OUT_OF_RANGE_SHARE:
            return f"{name}: {share:.1%} of the values are outside {low}..{high} {column.unit or ''}".rstrip()
    return None


def run() -> None:
    problem = load(params().problem)
    result = check(problem.spec, raw.read(Path(lineage.RAW)))
    bad = {day: reasons for day, reasons in result.items() if reasons}
    for day, reasons in bad.items():
        log.warning("partition %s is quarantined: %s", day, "; ".join(reasons))
    log.info("%d partitions, %d quarantined", len(result), len(bad))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"partitions": len(result), "quarantined": bad}, indent=1))


if __name__ == "__main__":
    logs.configure()
    run()
