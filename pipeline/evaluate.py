"""Stage `evaluate`: every candidate on the same time-later holdout, and which one wins.

Deterministic: what a fit cost in seconds is not read here. Whether the winner is released is the gate's decision.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import logs
from core.config import params
from core.errors import ModelRefused
from core.runtime import MODEL, OnnxModel
from core.schema import ProblemSpec
from pipeline.features import DAY, ID, OUT, holdout_rows, holdout_start, training_rows
from pipeline.metrics import LOSSES, METRICS, daily_difference, describe, observed_minus_expected
from pipeline.train import FACTS, columns
from problems import load

BASELINE = "baseline"
FOLDER = Path("evaluation")
log = logging.getLogger(__name__)


def score(spec: ProblemSpec, held_out: pd.DataFrame, folder: Path) -> np.ndarray | str:
    """A candidate's predictions on the holdout, shape (n,); or, in words, why it is refused."""
    facts = json.loads((folder / FACTS).read_text())
    if facts["refused"]:
        return str(facts["refused"])
    try:
        predictions = OnnxModel.load(folder).predict(columns(spec, held_out))
    except ModelRefused as reason:
        return str(reason)
    return predictions if np.isfinite(predictions).all() else "it predicts NaN or infinity on the holdout"


def choose(
    losses: dict[str, np.ndarray], days: np.ndarray, sizes: dict[str, int], off: dict[str, float], off_max: float
) -> tuple[str, str]:
    """The smallest graph among the candidates within one standard error of the best, and why, in one sentence.

    Size stands for cost: unlike seconds it is the same on every machine. A smaller candidate must also be calibrated:
    its |O-E| (`off`) at most `off_max` or the best's, since on few stormy days the standard error is wide (ADR 5).
    """
    best = min(losses, key=lambda name: daily_difference(losses[name], np.zeros(len(days)), days)[0])
    near = {}
    for name, loss in losses.items():
        behind, error, _ = daily_difference(loss, losses[best], days)
        if behind <= error and off[name] <= max(off_max, off[best]):
            near[name] = behind
    winner = min(near, key=lambda name: (sizes[name], name))
    if winner == best:
        others = "no smaller one is calibrated and within one standard error of it"
        return winner, f"{winner} has the lowest loss, and {others}."
    behind = near[winner]
    return winner, f"{winner} is {behind:.4f} behind {best}, within one standard error, and its graph is smaller."


def slices(spec: ProblemSpec, held_out: pd.DataFrame, predictions: np.ndarray) -> dict[str, dict[str, Any]]:
    """Metrics of each value of each slice column that has both outcomes: `column=value` -> {rows, metric...}."""
    out: dict[str, dict[str, Any]] = {}
    y = held_out[spec.target].to_numpy()
    for column in spec.slices:
        for value in sorted(held_out[column].unique()):
            mine = (held_out[column] == value).to_numpy()
            if len(np.unique(y[mine])) == 2:
                found = {name: metric(y[mine], predictions[mine]) for name, metric in METRICS.items()}
                out[f"{column}={value}"] = {"rows": int(mine.sum()), **found}
    return out


def evaluate(
    spec: ProblemSpec, held_out: pd.DataFrame, base_rate: float, models: dict[str, Path]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The comparison (JSON-able) and the predictions, one row per held-out event."""
    scored = {name: score(spec, held_out, folder) for name, folder in models.items()}
    refused = {name: reason for name, reason in scored.items() if isinstance(reason, str)}
    predictions = {name: p for name, p in scored.items() if not isinstance(p, str)}
    if not predictions:
        raise ModelRefused("every candidate is refused: " + "; ".join(f"{n}: {r}" for n, r in refused.items()))
    y, days = held_out[spec.target].to_numpy(), held_out[DAY].to_numpy()
    losses = {name: LOSSES[spec.gate.metric](y, p) for name, p in predictions.items()}
    sizes = {name: (models[name] / MODEL).stat().st_size for name in predictions}
    off = {name: abs(observed_minus_expected(y, p)) for name, p in predictions.items()}
    winner, reason = choose(losses, days, sizes, off, spec.gate.calibration_max)
    everyone = {BASELINE: np.full(len(y), base_rate), **predictions}
    comparison = {
        "winner": winner,
        "reason": reason,
        "refused": refused,
        "rows": len(y),
        "days": len(np.unique(days)),
        "metrics": {name: describe(y, p, days) for name, p in everyone.items()},
        "bytes": sizes,
        "slices": slices(spec, held_out, predictions[winner]),
    }
    frame = held_out[[ID, DAY, spec.target]].assign(**everyone)
    return comparison, frame


def run() -> None:
    given = params()
    spec = load(given.problem).spec
    frame = pd.read_parquet(OUT)
    held_out = holdout_rows(spec, frame, given.as_of)
    rate = float(training_rows(frame, holdout_start(spec, given.as_of))[spec.target].mean())
    models = {name: Path("models", name) for name in given.candidates}
    comparison, predictions = evaluate(spec, held_out, rate, models)
    log.info("%s", comparison["reason"])
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "metrics.json").write_text(json.dumps(comparison, indent=1))
    predictions.to_parquet(FOLDER / "predictions.parquet", index=False)


if __name__ == "__main__":
    logs.configure()
    run()
