"""Evidence about a champion: the Evidently report's values, and what Evidently does not compute.

That is null shares, windows, intervals over days and the comparison with the trivial baseline. Nothing is decided here.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import ProblemSpec
from monitoring import report
from monitoring.frames import DAY, PREDICTION, RESIDUAL, null_shares, typed
from monitoring.intervals import clustered_mean, daily_t, log_losses

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """One window of live predictions. None: not known. Intervals are 95 %, with days as clusters."""

    rows: int = 0
    days: int = 0
    labelled_rows: int = 0
    labelled_days: int = 0
    residual_mean: float | None = None  # observed - expected rate over all labelled rows, from the report
    residual_low: float | None = None
    residual_high: float | None = None
    prediction_psi: float | None = None  # against the reference, from the report
    drift_share: float | None = None  # drifted columns / compared columns, from the report
    drifted: dict[str, float] = field(default_factory=dict)  # column -> PSI, highest first
    null_alarms: dict[str, float] = field(default_factory=dict)  # column -> rise of its share of missing values
    empty_columns: list[str] = field(default_factory=list)  # without any value on one side: not compared
    log_loss: float | None = None
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    baseline_t: float | None = None  # of (log loss - log loss of the constant rate), paired by day; positive is worse
    tests: dict[str, str] = field(default_factory=dict)  # the report's tests: name -> SUCCESS or FAIL


def build(
    current: "pd.DataFrame",
    reference: "pd.DataFrame | None",
    spec: ProblemSpec,
    base_rate: float,
    target: Path,
    made: datetime,
) -> Evidence:
    """Write the report of two scored frames to target.html and .json, and gather the evidence.

    `base_rate` is the constant prediction of the trivial baseline. Without current rows there is no report.
    """
    if current.empty:
        return Evidence()
    current = typed(spec, current)
    reference = None if reference is None or reference.empty else typed(spec, reference)
    says = report.write(current, reference, spec, target, made)
    return Evidence(
        rows=len(current),
        days=current[DAY].nunique(),
        **_columns(spec, says.column_psi, current, reference),
        **_labelled(current, base_rate),
        residual_mean=says.residual_mean,
        prediction_psi=says.prediction_psi,
        tests=says.tests,
    )


def _columns(
    spec: ProblemSpec, psi: dict[str, float], current: "pd.DataFrame", reference: "pd.DataFrame | None"
) -> dict[str, Any]:
    if reference is None:
        return {}
    before, now = null_shares(spec, reference), null_shares(spec, current)
    drifted = {n: s for n, s in psi.items() if s >= spec.monitor.column_psi_max}
    return {
        "drifted": dict(sorted(drifted.items(), key=lambda item: -item[1])),
        "drift_share": len(drifted) / len(psi) if psi else None,
        "null_alarms": {n: now[n] - before[n] for n in now if now[n] - before[n] > spec.monitor.null_share_max},
        "empty_columns": [n for n in spec.features if n not in psi],
    }


def _labelled(current: "pd.DataFrame", base_rate: float) -> dict[str, Any]:
    labelled = current[current[RESIDUAL].notna()]
    days = labelled[DAY].to_numpy(str)
    residual, prediction = labelled[RESIDUAL].to_numpy(), labelled[PREDICTION].to_numpy()
    outcome = np.round(residual + prediction)
    losses = log_losses(outcome, prediction)
    calibration, loss = clustered_mean(residual, days), clustered_mean(losses, days)
    return {
        "labelled_rows": len(labelled),
        "labelled_days": len(set(days)),
        "residual_low": calibration.low,
        "residual_high": calibration.high,
        "log_loss": loss.mean,
        "log_loss_low": loss.low,
        "log_loss_high": loss.high,
        "baseline_t": daily_t(losses - log_losses(outcome, base_rate), days),
    }
