"""Rows of the prediction log as one frame: what a report compares. It judges nothing.

A scored frame has one row an event: every feature, `prediction`, `residual` (outcome - prediction, NaN where no
label is known yet) and `day`. The current frame and the reference frame have the same columns and types.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import MISSING_CATEGORY, ProblemSpec

if TYPE_CHECKING:
    import pandas as pd

PREDICTION, RESIDUAL, DAY = "prediction", "residual", "day"


def current(spec: ProblemSpec, rows: Iterable[Mapping[str, Any]], version: str) -> "pd.DataFrame":
    """Rows of core.predictions.live that `version` answered, as a scored frame in the order of event time.

    Of several predictions of one event the latest counts: it is what the caller last acted on.
    """
    import pandas as pd

    mine = sorted((r for r in rows if r["model_version"] == version), key=lambda r: (r["served_at"], r["id"]))
    latest = {row["event_id"]: row for row in mine}
    ordered = sorted(latest.values(), key=lambda r: (r["event_time"], r["event_id"]))
    frame = pd.DataFrame([row["features"] for row in ordered], columns=list(spec.features))
    frame[PREDICTION] = [row["score"] for row in ordered]
    outcome = np.array([row["outcome"] for row in ordered], np.float64)
    frame[RESIDUAL] = outcome - frame[PREDICTION].to_numpy(np.float64)
    frame[DAY] = [row["day"] for row in ordered]
    return typed(spec, frame)


def typed(spec: ProblemSpec, frame: "pd.DataFrame") -> "pd.DataFrame":
    """A scored frame with exactly the types of the schema. A column that is not there is all missing."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, feature in spec.features.items():
        values = frame[name] if name in frame else pd.Series(np.nan, frame.index, dtype=object)
        columns[name] = _numbers(values) if feature.kind == "number" else _categories(values)
    for name in (PREDICTION, RESIDUAL):
        columns[name] = _numbers(frame[name]) if name in frame else np.full(len(frame), np.nan)
    if DAY in frame:
        columns[DAY] = frame[DAY].to_numpy()
    return pd.DataFrame(columns)


def null_shares(spec: ProblemSpec, frame: "pd.DataFrame") -> dict[str, float]:
    """Share of missing values of each feature. Evidently drops them silently, so they are counted here."""
    return {name: float(frame[name].isna().mean()) for name in spec.features}


def _numbers(values: "pd.Series[Any]") -> np.ndarray:
    numbers = values.astype(np.float64).to_numpy(copy=True)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _categories(values: "pd.Series[Any]") -> np.ndarray:
    missing = values.isna() | (values == MISSING_CATEGORY)
    texts = np.array([str(value) for value in values], dtype=object)
    texts[missing.to_numpy(bool)] = None
    return texts
