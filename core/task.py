"""What differs between kinds of target: binary, multiclass, regression. Numpy only; all else in the loop is the same.

y is one number a row, shape (n,): 0 or 1, the index of a class, or the value. A prediction is the positive class's
probability, shape (n,); every class's, shape (n, k); or the value, shape (n,).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.schema import ProblemSpec

EPSILON = 1e-7  # probabilities are kept so far from 0 and 1: the resolution of float32
Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Task(Protocol):
    """One kind of target."""

    output: str  # name of the graph's tensor

    @property
    def losses(self) -> dict[str, Loss]:
        """Metrics that are a mean over rows, lower is better: (y, prediction) -> loss of each row. The usual first."""

    def arrange(self, raw: np.ndarray) -> np.ndarray:
        """The graph's tensor, shape (n, width), to a prediction."""

    def encode(self, labels: Any) -> np.ndarray:
        """Labels as the source has them to y, float64; NaN for what cannot be one."""

    def score(self, prediction: np.ndarray) -> np.ndarray:
        """The one number a row that is logged and watched, shape (n,)."""

    def names(self, prediction: np.ndarray) -> list[str | None]:
        """The predicted class of each row; None for a number."""

    def residual(self, y: np.ndarray, prediction: np.ndarray, scale: float) -> np.ndarray:
        """Observed less expected, shape (n,); its mean is the calibration that gate and policy watch."""

    def constant(self, y: np.ndarray) -> np.ndarray:
        """The trivial baseline's prediction for one row, shape () or (k,)."""

    def scale(self, y: np.ndarray) -> float:
        """Unit of residuals and of shifts of the mean prediction."""


def log_loss(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Nats a row. p: shape (n,), of the positive class, or (n, k)."""
    p = np.clip(np.asarray(p, np.float64), EPSILON, 1 - EPSILON)
    if p.ndim == 2:
        loss: np.ndarray = -np.log(p[np.arange(len(p)), np.asarray(y).astype(np.int64)])
    else:
        loss = -np.where(y > 0.5, np.log(p), np.log1p(-p))
    return loss


def squared_error(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    loss: np.ndarray = (np.asarray(prediction, np.float64) - y) ** 2
    return loss


def absolute_error(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    loss: np.ndarray = np.abs(np.asarray(prediction, np.float64) - y)
    return loss


def pinball(quantile: float) -> Loss:
    """Koenker and Bassett, 1978: its mean is smallest at the quantile."""

    def loss(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        off = np.asarray(y, np.float64) - prediction
        out: np.ndarray = np.maximum(quantile * off, (quantile - 1) * off)
        return out

    return loss


@dataclass(frozen=True)
class Binary:
    classes: Sequence[str] = ()
    output = "probabilities"

    @property
    def losses(self) -> dict[str, Loss]:
        return {"log_loss": log_loss, "brier": squared_error}

    def arrange(self, raw: np.ndarray) -> np.ndarray:
        return raw[:, 1]

    def encode(self, labels: Any) -> np.ndarray:
        if self.classes:
            return _codes(self.classes, labels)
        values = np.asarray(labels, np.float64)
        return np.where(np.isin(values, (0.0, 1.0)), values, np.nan)

    def score(self, prediction: np.ndarray) -> np.ndarray:
        return prediction

    def names(self, prediction: np.ndarray) -> list[str | None]:
        if not self.classes:
            return [None] * len(prediction)
        return [self.classes[int(p >= 0.5)] for p in prediction.tolist()]

    def residual(self, y: np.ndarray, prediction: np.ndarray, scale: float) -> np.ndarray:
        out: np.ndarray = np.asarray(y, np.float64) - prediction
        return out

    def constant(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.mean(y, dtype=np.float64))

    def scale(self, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True)
class Multiclass:
    """Its score is the probability of the predicted class, and its residual: right or wrong less that probability."""

    classes: Sequence[str]
    output = "probabilities"

    @property
    def losses(self) -> dict[str, Loss]:
        return {"log_loss": log_loss}

    def arrange(self, raw: np.ndarray) -> np.ndarray:
        return raw

    def encode(self, labels: Any) -> np.ndarray:
        return _codes(self.classes, labels)

    def score(self, prediction: np.ndarray) -> np.ndarray:
        best: np.ndarray = prediction.max(axis=1)
        return best

    def names(self, prediction: np.ndarray) -> list[str | None]:
        return [self.classes[i] for i in prediction.argmax(axis=1).tolist()]

    def residual(self, y: np.ndarray, prediction: np.ndarray, scale: float) -> np.ndarray:
        out: np.ndarray = (prediction.argmax(axis=1) == y) - self.score(prediction).astype(np.float64)
        return np.where(np.isnan(np.asarray(y, np.float64)), np.nan, out)

    def constant(self, y: np.ndarray) -> np.ndarray:
        return np.bincount(np.asarray(y).astype(np.int64), minlength=len(self.classes)) / len(y)

    def scale(self, y: np.ndarray) -> float:
        return 1.0


@dataclass(frozen=True)
class Regression:
    """Residuals are in standard deviations of the target; with a quantile they are its coverage less the quantile."""

    metric: str = "mae"
    quantile: float | None = None
    output = "value"

    @property
    def losses(self) -> dict[str, Loss]:
        losses: dict[str, Loss] = {"mae": absolute_error, "mse": squared_error}
        if self.metric in ("rmse", "r2"):
            losses = {"mse": squared_error, "mae": absolute_error}
        return losses if self.quantile is None else {"pinball": pinball(self.quantile), **losses}

    def arrange(self, raw: np.ndarray) -> np.ndarray:
        return raw[:, 0]

    def encode(self, labels: Any) -> np.ndarray:
        values = np.asarray(labels, np.float64)
        return np.where(np.isfinite(values), values, np.nan)

    def score(self, prediction: np.ndarray) -> np.ndarray:
        return prediction

    def names(self, prediction: np.ndarray) -> list[str | None]:
        return [None] * len(prediction)

    def residual(self, y: np.ndarray, prediction: np.ndarray, scale: float) -> np.ndarray:
        y = np.asarray(y, np.float64)
        out: np.ndarray = (y - prediction) / scale if self.quantile is None else (y <= prediction) - self.quantile
        return np.where(np.isnan(y), np.nan, out)

    def constant(self, y: np.ndarray) -> np.ndarray:
        if self.quantile is not None:
            return np.asarray(np.quantile(y, self.quantile))
        return np.asarray(np.median(y) if self.metric == "mae" else np.mean(y, dtype=np.float64))

    def scale(self, y: np.ndarray) -> float:
        return float(np.std(y, dtype=np.float64)) or 1.0


def of(spec: ProblemSpec) -> Task:
    """The task of a problem."""
    if spec.task == "binary":
        return Binary(tuple(spec.classes))
    if spec.task == "multiclass":
        return Multiclass(tuple(spec.classes))
    return Regression(spec.gate.metric, spec.gate.quantile)


def primary_loss(spec: ProblemSpec) -> str:
    """The loss of single rows that stands for the primary metric: itself, or the task's usual one."""
    losses = of(spec).losses
    return spec.gate.metric if spec.gate.metric in losses else next(iter(losses))


def _codes(classes: Sequence[str], labels: Any) -> np.ndarray:
    index = {name: float(code) for code, name in enumerate(classes)}
    return np.array([index.get(_text(label), np.nan) for label in np.asarray(labels, object).tolist()], np.float64)


def _text(label: Any) -> str:
    """3.0 and 3 are the same class: a column of whole numbers becomes floats when one is missing."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
