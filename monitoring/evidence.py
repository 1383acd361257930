"""Evidence about a champion: the Evidently report's values, and what Evidently does not compute.

That is null shares, windows, clustered intervals and the comparison with the trivial baseline. Nothing is decided here.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.runtime import EMBEDDING
from core.schema import ProblemSpec
from core.scored import BASELINE_LOSS, CLUSTER, DAY, LOSS, RESIDUAL, embedding, watched
from monitoring import report
from monitoring.frames import null_shares, typed
from monitoring.intervals import clustered_mean, daily_t

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """One window of live predictions. None: not known. Intervals are 95 %, by the problem's clusters."""

    rows: int = 0
    days: int = 0
    labelled_rows: int = 0
    labelled_days: int = 0
    residual_mean: float | None = None  # observed less expected (core.task) over all labelled rows, from the report
    residual_low: float | None = None
    residual_high: float | None = None
    prediction_psi: float | None = None  # of the score, against the reference, from the report
    label_psi: float | None = None  # of the predicted classes, likewise
    embedding_psi: float | None = None  # mean over the numbers of the model's embedding, likewise
    drift_share: float | None = None  # drifted columns / compared columns, from the report
    drifted: dict[str, float] = field(default_factory=dict)  # column -> PSI, highest first
    null_alarms: dict[str, float] = field(default_factory=dict)  # column -> rise of its share of missing values
    empty_columns: list[str] = field(default_factory=list)  # without any value on one side: not compared
    loss: float | None = None  # core.task.primary_loss
    loss_low: float | None = None
    loss_high: float | None = None
    baseline_t: float | None = None  # of (loss - loss of the constant prediction), paired by day; positive is worse
    tests: dict[str, str] = field(default_factory=dict)  # the report's tests: name -> SUCCESS or FAIL


def build(
    current: "pd.DataFrame",
    reference: "pd.DataFrame | None",
    spec: ProblemSpec,
    target: Path,
    made: datetime,
) -> Evidence:
    """Write the report of two scored frames to target.html and .json, and gather the evidence.

    Without current rows there is no report.
    """
    if current.empty:
        return Evidence()
    kinds = watched(spec, [*current.columns, *(() if reference is None else reference.columns)])
    current = typed(current, kinds)
    reference = None if reference is None or reference.empty else typed(reference, kinds)
    says = report.write(current, reference, spec, target, made)
    return Evidence(
        rows=len(current),
        days=current[DAY].nunique(),
        **_columns(spec, says.column_psi, current, reference),
        **_labelled(current),
        residual_mean=says.residual_mean,
        prediction_psi=says.prediction_psi,
        label_psi=says.label_psi,
        tests=says.tests,
    )


def _columns(
    spec: ProblemSpec, psi: dict[str, float], current: "pd.DataFrame", reference: "pd.DataFrame | None"
) -> dict[str, Any]:
    if reference is None:
        return {}
    before, now = null_shares(reference, spec.watched), null_shares(current, spec.watched)
    group = embedding(spec, current.columns)
    inner, outer = ({n: s for n, s in psi.items() if (n in group) is inside} for inside in (True, False))
    drifted = {n: s for n, s in outer.items() if s >= spec.monitor.column_psi_max}
    return {
        "drifted": dict(sorted(drifted.items(), key=lambda item: -item[1])),
        "drift_share": len(drifted) / len(outer) if outer else None,
        "embedding_psi": sum(inner.values()) / len(inner) if inner else None,
        "null_alarms": {n: now[n] - before[n] for n in now if now[n] - before[n] > spec.monitor.null_share_max},
        "empty_columns": [n for n in spec.watched if n not in psi] + [EMBEDDING] * (len(inner) < len(group)),
    }


def _labelled(current: "pd.DataFrame") -> dict[str, Any]:
    labelled = current[current[RESIDUAL].notna()]
    days, clusters = labelled[DAY].to_numpy(str), labelled[CLUSTER].to_numpy(str)
    losses = labelled[LOSS].to_numpy()
    calibration, loss = clustered_mean(labelled[RESIDUAL].to_numpy(), clusters), clustered_mean(losses, clusters)
    return {
        "labelled_rows": len(labelled),
        "labelled_days": len(set(days)),
        "residual_low": calibration.low,
        "residual_high": calibration.high,
        "loss": loss.mean,
        "loss_low": loss.low,
        "loss_high": loss.high,
        "baseline_t": daily_t(losses - labelled[BASELINE_LOSS].to_numpy(), days),
    }
