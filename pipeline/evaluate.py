"""Stage `evaluate`: every candidate on the same time-later holdout, and which one wins.

Deterministic: what a fit cost in seconds is not read here. Whether the winner is released is the gate's decision.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import logs
from core.config import params
from core.errors import DataError, ModelRefused
from core.runtime import MODEL, OnnxModel
from core.schema import ProblemSpec
from core.scored import Trivial
from pipeline.features import CLUSTER, DAY, ID, OUT, holdout_rows, holdout_start, inputs, training_rows
from pipeline.metrics import Metric, calibration, describe, difference, measures
from pipeline.train import FACTS
from problems import load

BASELINE = "baseline"
FOLDER = Path("evaluation")
log = logging.getLogger(__name__)


def score(spec: ProblemSpec, held_out: pd.DataFrame, folder: Path) -> np.ndarray | str:
    """A candidate's predictions on the holdout, shape (n,) or (n, k); or, in words, why it is refused."""
    facts = json.loads((folder / FACTS).read_text())
    if facts["refused"]:
        return str(facts["refused"])
    try:
        predictions = OnnxModel.load(folder, spec).predict(inputs(spec, held_out))
    except ModelRefused as reason:
        return str(reason)
    return predictions if np.isfinite(predictions).all() else "it predicts NaN or infinity on the holdout"


def choose(
    metric: Metric,
    y: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    clusters: np.ndarray,
    sizes: Mapping[str, int],
    off: Mapping[str, float],
    off_max: float,
) -> tuple[str, str]:
    """The smallest graph among the candidates within one standard error of the best, and why, in one sentence.

    Size stands for cost: unlike seconds it is the same on every machine. A smaller candidate must also be calibrated:
    its |O-E| (`off`) at most `off_max` or the best's, since on few stormy days the standard error is wide (ADR 5).
    """
    names = sorted(predictions)
    gaps = {name: difference(metric, y, predictions[name], predictions[names[0]], clusters).worse for name in names}
    best = min(names, key=lambda name: gaps[name])
    behind = {name: difference(metric, y, predictions[name], predictions[best], clusters) for name in names}
    near = [n for n in names if behind[n].worse <= behind[n].error and off[n] <= max(off_max, off[best])]
    winner = min(near, key=lambda name: (sizes[name], name))
    if winner != best:
        gap, error, _ = behind[winner]
        return winner, (
            f"{winner} is {gap:.4g} behind {best} in {metric.name}, within one standard error ({error:.2g}), "
            f"and its graph has {sizes[winner]:,} bytes instead of {sizes[best]:,}."
        )
    return winner, f"{winner} {_why_best(metric.value(y, predictions[best]), metric.name, best, sizes)}"


def _why_best(value: float | None, metric: str, best: str, sizes: Mapping[str, int]) -> str:
    if len(sizes) == 1:
        return "is the only candidate that was not refused."
    has = f"has the best {metric}, {value:.4g}"
    if sizes[best] == min(sizes.values()):
        return f"{has}, and the smallest graph."
    return f"{has}, and no smaller one is calibrated and within one standard error of it."


def slices(spec: ProblemSpec, held_out: pd.DataFrame, predictions: np.ndarray, scale: float) -> dict[str, Any]:
    """Metrics of each value of each slice column, those that are defined there: `column=value` -> {rows, metric...}."""
    out: dict[str, Any] = {}
    y, wanted = held_out[spec.target].to_numpy(), [*measures(spec).values(), calibration(spec, scale)]
    for column in spec.slices:
        for value in sorted(held_out[column].dropna().unique()):
            mine = (held_out[column] == value).to_numpy(bool)
            found = {metric.name: metric.value(y[mine], predictions[mine]) for metric in wanted}
            known = {name: number for name, number in found.items() if number is not None}
            out[f"{column}={value}"] = {"rows": int(mine.sum()), **known}
    return out


def evaluate(
    spec: ProblemSpec, held_out: pd.DataFrame, trivial: Trivial, models: Mapping[str, Path]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The comparison (JSON-able) and the predictions, one row per held-out event. `trivial` is of the training rows."""
    scored = {name: score(spec, held_out, folder) for name, folder in models.items()}
    refused = {name: reason for name, reason in scored.items() if isinstance(reason, str)}
    predictions = {name: p for name, p in scored.items() if not isinstance(p, str)}
    if not predictions:
        raise ModelRefused("every candidate is refused: " + "; ".join(f"{n}: {r}" for n, r in refused.items()))
    y, clusters = held_out[spec.target].to_numpy(), held_out[CLUSTER].to_numpy()
    everyone = {BASELINE: trivial.predict(len(y)), **predictions}
    sizes = {name: (models[name] / MODEL).stat().st_size for name in predictions}
    described = {name: describe(spec, trivial.scale, y, p, clusters) for name, p in everyone.items()}
    winner, reason = _chosen(spec, y, predictions, clusters, sizes, trivial.scale)
    comparison = {
        "winner": winner,
        "reason": reason,
        "refused": refused,
        "rows": len(y),
        "days": held_out[DAY].nunique(),
        "metrics": described,
        "bytes": sizes,
        "slices": slices(spec, held_out, predictions[winner], trivial.scale),
    }
    columns = {name: as_column(p) for name, p in everyone.items()}
    return comparison, held_out[[ID, DAY, CLUSTER, spec.target]].assign(**columns)


def _chosen(
    spec: ProblemSpec,
    y: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    clusters: np.ndarray,
    sizes: Mapping[str, int],
    scale: float,
) -> tuple[str, str]:
    metric, residual = measures(spec)[spec.gate.metric], calibration(spec, scale)
    if any(metric.value(y, p) is None for p in predictions.values()):
        raise DataError(f"{metric.name} is not defined on the holdout: do its {len(y)} rows show only one outcome?")
    off = {name: abs(residual.value(y, p) or 0.0) for name, p in predictions.items()}
    return choose(metric, y, predictions, clusters, sizes, off, spec.gate.calibration_max)


def as_column(prediction: np.ndarray) -> Any:
    """A prediction as one column of a table: numbers, or one list a row."""
    return prediction if prediction.ndim == 1 else list(prediction)


def from_column(column: "pd.Series[Any]") -> np.ndarray:
    """The prediction again, shape (n,) or (n, k)."""
    values = column.to_numpy()
    return np.stack(list(values)) if values.dtype == object else values


def run() -> None:
    given = params()
    spec = load(given.problem).spec
    frame = pd.read_parquet(OUT)
    held_out = holdout_rows(spec, frame, given.as_of)
    before = training_rows(frame, holdout_start(spec, given.as_of))
    models = {name: Path("models", name) for name in given.candidates}
    trivial = Trivial.of(spec, before[spec.target].to_numpy())
    comparison, predictions = evaluate(spec, held_out, trivial, models)
    log.info("%s", comparison["reason"])
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "metrics.json").write_text(json.dumps(comparison, indent=1))
    predictions.to_parquet(FOLDER / "predictions.parquet", index=False)


if __name__ == "__main__":
    logs.configure()
    run()
