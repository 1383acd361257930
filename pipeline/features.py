"""Stage `features`: the labelled events of the window with everything a model sees, joined as of prediction time.

The same look-up and feature code answers requests (serving). The views on the table say who may see which rows.
"""

import json
import logging
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, logs
from core.columns import Columns, event_day, from_frame, stacked
from core.config import params
from core.errors import DataError
from core.lookups import Lookup, join, joined_key, model_inputs
from core.schema import ProblemSpec
from core.scored import statistics
from core.task import of
from pipeline import raw
from problems import Problem, load

OUT = Path("data/features.parquet")
ID, DAY, KNOWN_ON, CLUSTER = "_id", "_day", "_known_on", "_cluster"
log = logging.getLogger(__name__)


def build_lookups(problem: Problem, tables: dict[str, pd.DataFrame]) -> dict[str, Lookup]:
    return {name: _lookup(problem.spec, name, frame) for name, frame in lookup_frames(problem, tables).items()}


def lookup_frames(problem: Problem, tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Rows of each look-up. A problem without any needs no function for them."""
    frames: dict[str, pd.DataFrame] = problem.data.lookups(tables) if problem.spec.lookups else {}
    return frames


def key_columns(spec: ProblemSpec, name: str, frame: pd.DataFrame) -> np.ndarray:
    """The joined key of a look-up's frame, shape (n,)."""
    return joined_key({key: frame[key].to_numpy() for key in spec.lookups[name].keys}, spec.lookups[name].keys)


def table(problem: Problem, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per labelled event: id, local day, partition day of its label, cluster, target, features and the
    statistics that the monitor watches. Sorted by time, id. The target is a number (core.task)."""
    spec = problem.spec
    if absent := [name for name in (raw.EVENTS, raw.LABELS) if name not in tables]:
        raise DataError(f"no good day has {' and '.join(absent)}; data/validation.json says what is wrong with each")
    labels = tables[raw.LABELS][[spec.id, spec.target, raw.PARTITION]].rename(columns={raw.PARTITION: KNOWN_ON})
    labels = labels.drop_duplicates(spec.id)  # the first outcome of an event stands
    events = tables[raw.EVENTS].merge(labels, on=spec.id, how="inner", validate="one_to_one")
    events = events.sort_values([spec.time, spec.id], ignore_index=True)
    columns = from_frame(spec, events)
    days = event_day(spec, columns).astype("datetime64[s]")
    known_on = pd.to_datetime(events[KNOWN_ON]).dt.as_unit("s")
    cluster = days if spec.cluster is None else columns[spec.cluster]
    head = {ID: events[spec.id], DAY: days, KNOWN_ON: known_on, CLUSTER: cluster}
    made = features(problem, columns, build_lookups(problem, tables))
    as_columns = {name: values if values.ndim == 1 else list(values) for name, values in made.items()}
    return pd.DataFrame({**head, spec.target: of(spec).encode(events[spec.target]), **as_columns})


def features(problem: Problem, columns: Columns, lookups: dict[str, Lookup]) -> Columns:
    """Request columns to model inputs and statistics: derive, look up as of prediction time, select."""
    derived: Columns = problem.features.features(columns)
    joined, _ = join(derived, derived["prediction_time"], problem.spec.lookups, lookups)
    return model_inputs(problem.spec, joined) | statistics(problem.spec, joined)


def inputs(spec: ProblemSpec, frame: pd.DataFrame) -> Columns:
    """The models' inputs of a features table: shape (n,) each, an array's (n, size)."""
    return {
        name: stacked(frame[name], feature.size) if feature.kind == "array" else frame[name].to_numpy()
        for name, feature in spec.features.items()
    }


def holdout_start(spec: ProblemSpec, as_of: date) -> date:
    return as_of - timedelta(days=spec.split.holdout_days)


def training_rows(frame: pd.DataFrame, until: date) -> pd.DataFrame:
    """What a model trained at the cut-off of `until` may see: earlier events whose labels were known by then."""
    end = pd.Timestamp(until)
    return frame[(frame[DAY] < end) & (frame[KNOWN_ON] < end)].reset_index(drop=True)


def holdout_rows(spec: ProblemSpec, frame: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """The time-later rows on which candidates and champion are compared."""
    start, end = pd.Timestamp(holdout_start(spec, as_of)), pd.Timestamp(as_of)
    rows = frame[(frame[DAY] >= start) & (frame[DAY] < end) & (frame[KNOWN_ON] < end)].reset_index(drop=True)
    if not len(rows):
        raise DataError(f"no labelled event from {start.date()} to {as_of}; is every day of the holdout quarantined?")
    return rows


def _lookup(spec: ProblemSpec, name: str, frame: pd.DataFrame) -> Lookup:
    wanted = spec.lookups[name]
    values = {value: frame[value].to_numpy(np.float32) for value in wanted.values}
    at = frame["available_at"].to_numpy("datetime64[s]")
    return Lookup.build(key_columns(spec, name, frame), at, values, wanted.tolerance_h)


def run() -> None:
    problem = load(params().problem)
    bad = json.loads(Path("data/validation.json").read_text())["quarantined"]
    frame = table(problem, raw.read(Path(lineage.RAW), leave_out=frozenset(bad)))
    log.info("%d labelled events, %d features", len(frame), len(problem.spec.features))
    frame.to_parquet(OUT, index=False)


if __name__ == "__main__":
    logs.configure()
    run()
