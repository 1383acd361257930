"""Rows of the prediction log as one frame: what a report compares. It judges nothing.

A scored frame (core.scored) has one row an event. The live frame and the reference have the same columns and types.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import MISSING_CATEGORY, Kind, ProblemSpec
from core.scored import BASELINE_LOSS, CLUSTER, DAY, LABEL, LOSS, PREDICTION, RESIDUAL, Trivial, judged, watched

if TYPE_CHECKING:
    import pandas as pd


def current(spec: ProblemSpec, rows: Iterable[Mapping[str, Any]], version: str, trivial: Trivial) -> "pd.DataFrame":
    """Rows of core.predictions.live that `version` answered, as a scored frame in the order of event time.

    Of several predictions of one event the latest counts: it is what the caller last acted on.
    """
    import pandas as pd

    mine = sorted((r for r in rows if r["model_version"] == version), key=lambda r: (r["served_at"], r["id"]))
    latest = {row["event_id"]: row for row in mine}
    ordered = sorted(latest.values(), key=lambda r: (r["event_time"], r["event_id"]))
    outcome = np.array([row["outcome"] for row in ordered], np.float64)
    frame = pd.DataFrame([row["features"] for row in ordered], index=range(len(ordered)))
    frame = frame.assign(**judged(spec, _predictions(spec, ordered), outcome, trivial))
    frame[DAY] = [row["day"] for row in ordered]
    frame[CLUSTER] = [str(row["day"] if spec.cluster is None else row["inputs"].get(spec.cluster)) for row in ordered]
    return typed(frame, watched(spec, frame.columns))


def typed(frame: "pd.DataFrame", kinds: Mapping[str, Kind]) -> "pd.DataFrame":
    """A scored frame with exactly these watched columns and types. A column that is not there is all missing."""
    import pandas as pd

    named: dict[str, Kind] = dict.fromkeys((PREDICTION, RESIDUAL, LOSS, BASELINE_LOSS), "number")
    columns: dict[str, Any] = {}
    for name, kind in {**kinds, **named, LABEL: "category"}.items():
        values = frame[name] if name in frame else pd.Series(np.nan, frame.index, dtype=object)
        columns[name] = _numbers(values) if kind == "number" else _categories(values)
    return pd.DataFrame(columns | {name: frame[name].to_numpy() for name in (DAY, CLUSTER) if name in frame})


def null_shares(frame: "pd.DataFrame", names: Iterable[str]) -> dict[str, float]:
    """Share of missing values of each column. Evidently drops them silently, so they are counted here."""
    return {name: float(frame[name].isna().mean()) for name in names}


def _predictions(spec: ProblemSpec, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """As core.task describes them, from what the log keeps."""
    if spec.task == "multiclass":
        return np.array([row["outputs"] for row in rows], np.float64).reshape(len(rows), len(spec.classes))
    return np.array([row["score"] for row in rows], np.float64)


def _numbers(values: "pd.Series[Any]") -> np.ndarray:
    numbers = values.astype(np.float64).to_numpy(copy=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _categories(values: "pd.Series[Any]") -> np.ndarray:
    missing = values.isna() | (values == MISSING_CATEGORY)
    texts = np.array([str(value) for value in values], dtype=object)
    texts[missing.to_numpy(bool)] = None
    return texts
