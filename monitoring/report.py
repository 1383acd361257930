"""The Evidently report: made, written for people (HTML) and for the policy (JSON), and read back by metric name.

The only module that imports Evidently. Scores are PSI with pinned thresholds: by default Evidently picks a test by
sample size, and with it whether a high score is good or bad.
"""

import json
import os
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import Kind, ProblemSpec
from core.scored import LABEL, PREDICTION, RESIDUAL, embedding, watched

if TYPE_CHECKING:
    import pandas as pd

METHOD = "psi"


@dataclass(frozen=True)
class Reading:
    """What the report says. None or absent: it does not say."""

    residual_mean: float | None = None
    prediction_psi: float | None = None
    label_psi: float | None = None
    column_psi: dict[str, float] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)


def write(
    current: "pd.DataFrame", reference: "pd.DataFrame | None", spec: ProblemSpec, target: Path, made: datetime
) -> Reading:
    """Run the report on scored frames, write target.html and target.json, and return what the JSON says.

    Columns without any value on one side are left out, since Evidently raises on them. With nothing to report
    there is no file.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own: old syntax on import, correlations of constant columns
        snapshot = _run(current, reference, spec, made)
    if snapshot is None:
        return Reading()
    target.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(f"{target}.html")
    snapshot.save_json(f"{target}.json")
    return reading(json.loads(Path(f"{target}.json").read_text()))


def reading(content: Mapping[str, Any]) -> Reading:
    """A report's JSON to the values that count, by the kind and the column of each metric."""
    values = {(_kind(m), m["config"].get("column", "")): m["value"] for m in content["metrics"]}
    psi = {column: float(value) for (kind, column), value in values.items() if kind == "ValueDrift"}
    return Reading(
        residual_mean=values.get(("MeanValue", RESIDUAL)),
        prediction_psi=psi.pop(PREDICTION, None),
        label_psi=psi.pop(LABEL, None),
        column_psi=psi,
        tests={test["name"]: test["status"] for test in content["tests"]},
    )


def _run(current: "pd.DataFrame", reference: "pd.DataFrame | None", spec: ProblemSpec, made: datetime) -> Any:
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import Report  # type: ignore[import-untyped]

    kinds: dict[str, Kind] = {**watched(spec, current.columns), PREDICTION: "number", LABEL: "category"}
    compared = {} if reference is None else {n: k for n, k in kinds.items() if _comparable(n, current, reference)}
    metrics = _metrics(current, spec, compared)
    if not metrics:
        return None
    return Report(metrics, include_tests=True).run(
        current_data=_dataset(current, compared, spec.monitor.sample_rows),
        reference_data=None if reference is None else _dataset(reference, compared, spec.monitor.sample_rows),
        timestamp=made,
    )


def _metrics(current: "pd.DataFrame", spec: ProblemSpec, compared: Collection[str]) -> list[Any]:
    """Calibration, prediction and label; then what is watched; the model's embedding as a group of its own."""
    from evidently.metrics import MeanValue, ValueDrift  # type: ignore[import-untyped]
    from evidently.presets import DataDriftPreset  # type: ignore[import-untyped]
    from evidently.tests import gt, lt  # type: ignore[import-untyped]

    metrics: list[Any] = []
    if current[RESIDUAL].notna().any():
        limit = spec.monitor.calibration_max
        metrics.append(MeanValue(column=RESIDUAL, tests=[gt(-limit), lt(limit)]))
    for name in (n for n in (PREDICTION, LABEL) if n in compared):
        limit = spec.monitor.prediction_psi_max
        metrics.append(ValueDrift(column=name, method=METHOD, threshold=limit, tests=[lt(limit)]))
    for group in ([n for n in spec.watched if n in compared], embedding(spec, compared)):
        if group:
            metrics.append(DataDriftPreset(columns=group, method=METHOD, threshold=spec.monitor.column_psi_max))
    return metrics


def _dataset(frame: "pd.DataFrame", compared: Mapping[str, Kind], rows: int) -> Any:
    from evidently import DataDefinition, Dataset

    numbers = [name for name, kind in compared.items() if kind == "number" and name != PREDICTION]
    definition = DataDefinition(
        numerical_columns=[*numbers, PREDICTION, RESIDUAL],
        categorical_columns=[name for name, kind in compared.items() if kind == "category"],
    )
    return Dataset.from_pandas(sampled(frame, compared, rows), data_definition=definition)


def sampled(frame: "pd.DataFrame", compared: Collection[str], rows: int) -> "pd.DataFrame":
    """The columns of the report. Only `rows` random rows keep what is watched: Evidently skips missing values.

    Prediction, label and residual stay whole, since the policy judges them, and all in one report.
    """
    thinned = [name for name in compared if name not in (PREDICTION, LABEL)]
    out = frame[[*thinned, PREDICTION, RESIDUAL, *([LABEL] if LABEL in compared else [])]].copy()
    if thinned and len(out) > rows:
        keep = np.zeros(len(out), bool)
        keep[np.random.default_rng(0).permutation(len(out))[:rows]] = True
        dense = [n for n in thinned if out.loc[keep, n].notna().any()]  # one that is too sparse keeps all its values
        out.loc[~keep, dense] = None
    return out


def _comparable(name: str, current: "pd.DataFrame", reference: "pd.DataFrame") -> bool:
    return bool(current[name].notna().any() and reference[name].notna().any())


def _kind(metric: Mapping[str, Any]) -> str:
    return str(metric["config"]["type"]).rsplit(":", 1)[-1]
