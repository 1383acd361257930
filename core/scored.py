"""A scored frame: what the monitor compares and judges, one row an event, live or from a model's training rows.

Columns: what is watched of the inputs (`ProblemSpec.watched`), the model's embedding where it has one, and those
named here. Training writes the reference with it, monitoring the live window. Numpy only.
"""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from core.columns import Columns
from core.config import Frozen
from core.schema import Kind, ProblemSpec
from core.task import of, primary_loss

PREDICTION = "prediction"  # core.task's score
LABEL = "label"  # predicted class, where the problem names its classes
RESIDUAL = "residual"  # observed less expected, NaN where no label is known yet
LOSS, BASELINE_LOSS = "loss", "baseline_loss"  # core.task.primary_loss of the model and of a constant, NaN likewise
DAY = "day"  # of the live window only, as the next
CLUSTER = "_cluster"  # rows with the same one belong together in intervals: the problem's cluster, or the day


class Trivial(Frozen):
    """What a model's training rows say about its target: the constant prediction to beat, and the unit of residuals."""

    constant: float | list[float]
    scale: float = 1.0

    @classmethod
    def of(cls, spec: ProblemSpec, y: np.ndarray) -> "Trivial":
        task = of(spec)
        return cls(constant=task.constant(y).tolist(), scale=task.scale(y))

    def predict(self, n: int) -> np.ndarray:
        """The constant for n rows, in the shape of a prediction."""
        constant = np.asarray(self.constant, np.float64)
        return np.broadcast_to(constant, (n, *constant.shape))


def judged(spec: ProblemSpec, prediction: np.ndarray, y: np.ndarray, trivial: Trivial) -> dict[str, Any]:
    """The named columns but for the day, shape (n,) each. `y` is NaN where no label is known yet."""
    task, known = of(spec), ~np.isnan(y)
    loss = task.losses[primary_loss(spec)]
    return {
        PREDICTION: task.score(prediction),
        LABEL: np.array(task.names(prediction), object),
        RESIDUAL: task.residual(y, prediction, trivial.scale),
        LOSS: _where(known, lambda: loss(y[known], prediction[known])),
        BASELINE_LOSS: _where(known, lambda: loss(y[known], trivial.predict(int(known.sum())))),
    }


def embedding(spec: ProblemSpec, names: Iterable[str]) -> list[str]:
    """Of these columns those of the model's embedding (core.runtime), in its order."""
    found = {name for name in names if re.fullmatch(r"embedding_\d+", name)} - set(spec.watched)
    return sorted(found, key=lambda name: int(name.rpartition("_")[2]))


def watched(spec: ProblemSpec, names: Iterable[str]) -> dict[str, Kind]:
    """What is compared column by column: what the problem watches, and of `names` the model's embedding."""
    return spec.watched | dict.fromkeys(embedding(spec, names), "number")


def statistics(spec: ProblemSpec, derived: Columns) -> Columns:
    """The derived numbers that are watched without being fed to a model, float32, shape (n,) each."""
    return {name: derived[name].astype(np.float32) for name in spec.monitor.statistics}


def _where(known: np.ndarray, values: Any) -> np.ndarray:
    out = np.full(len(known), np.nan)
    if known.any():
        out[known] = values()
    return out
