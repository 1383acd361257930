"""The Evidently report: made, written for people (HTML) and for the policy (JSON), and read back by metric name.

The only module that imports Evidently. Scores are PSI with pinned thresholds: by default Evidently picks a test by
sample size, and with it whether a high score is good or bad.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import Monitor, ProblemSpec
from monitoring.frames import PREDICTION, RESIDUAL

if TYPE_CHECKING:
    import pandas as pd

METHOD = "psi"


@dataclass(frozen=True)
class Reading:
    """What the report says. None or absent: it does not say."""

    residual_mean: float | None = None
    prediction_psi: float | None = None
    column_psi: dict[str, float] = field(default_factory=dict)
    tests: dict[str, str] = field(default_factory=dict)


def write(
    current: "pd.DataFrame", reference: "pd.DataFrame | None", spec: ProblemSpec, target: Path, made: datetime
) -> Reading:
    """Run the report on scored frames, write target.html and target.json, and return what the JSON says.

    Features without any value on one side are left out, since Evidently raises on them. With nothing to report
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
        column_psi=psi,
        tests={test["name"]: test["status"] for test in content["tests"]},
    )


def _run(current: "pd.DataFrame", reference: "pd.DataFrame | None", spec: ProblemSpec, made: datetime) -> Any:
    os.environ.setdefault("DO_NOT_TRACK", "true")
    from evidently import Report  # type: ignore[import-untyped]

    compared = [] if reference is None else [n for n in spec.features if _comparable(n, current, reference)]
    metrics = _metrics(current, reference, spec.monitor, compared)
    if not metrics:
        return None
    return Report(metrics, include_tests=True).run(
        current_data=_dataset(current, spec, compared),
        reference_data=None if reference is None else _dataset(reference, spec, compared),
        timestamp=made,
    )


def _metrics(
    current: "pd.DataFrame", reference: "pd.DataFrame | None", monitor: Monitor, compared: list[str]
) -> list[Any]:
    from evidently.metrics import MeanValue, ValueDrift  # type: ignore[import-untyped]
    from evidently.presets import DataDriftPreset  # type: ignore[import-untyped]
    from evidently.tests import gt, lt  # type: ignore[import-untyped]

    metrics: list[Any] = []
    if current[RESIDUAL].notna().any():
        limit = monitor.calibration_max
        metrics.append(MeanValue(column=RESIDUAL, tests=[gt(-limit), lt(limit)]))
    if reference is not None and _comparable(PREDICTION, current, reference):
        limit = monitor.prediction_psi_max
        metrics.append(ValueDrift(column=PREDICTION, method=METHOD, threshold=limit, tests=[lt(limit)]))
    if compared:
        metrics.append(DataDriftPreset(columns=compared, method=METHOD, threshold=monitor.column_psi_max))
    return metrics


def _dataset(frame: "pd.DataFrame", spec: ProblemSpec, compared: list[str]) -> Any:
    from evidently import DataDefinition, Dataset

    of_kind = {kind: [n for n in compared if spec.features[n].kind == kind] for kind in ("number", "category")}
    definition = DataDefinition(
        numerical_columns=[*of_kind["number"], PREDICTION, RESIDUAL], categorical_columns=of_kind["category"]
    )
    return Dataset.from_pandas(sampled(frame, compared, spec.monitor.sample_rows), data_definition=definition)


def sampled(frame: "pd.DataFrame", compared: list[str], rows: int) -> "pd.DataFrame":
    """The columns of the report. Only `rows` random rows keep their features: Evidently skips missing values.

    Prediction and residual stay whole, since the policy judges them, and all in one report.
    """
    out = frame[[*compared, PREDICTION, RESIDUAL]].copy()
    if compared and len(out) > rows:
        keep = np.zeros(len(out), bool)
        keep[np.random.default_rng(0).permutation(len(out))[:rows]] = True
        dense = [n for n in compared if out.loc[keep, n].notna().any()]  # one that is too sparse keeps all its values
        out.loc[~keep, dense] = None
    return out


def _comparable(name: str, current: "pd.DataFrame", reference: "pd.DataFrame") -> bool:
    return bool(current[name].notna().any() and reference[name].notna().any())


def _kind(metric: Mapping[str, Any]) -> str:
    return str(metric["config"]["type"]).rsplit(":", 1)[-1]
