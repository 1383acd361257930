"""Metrics of a binary problem, with intervals that respect days: rows of a day are not independent.

Frames in, numbers out; nothing here reads or writes.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn import metrics as sk

Metric = Callable[[np.ndarray, np.ndarray], float]
EPSILON = 1e-7


def log_loss_rows(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Log loss of each row, in nats, shape (n,)."""
    p = np.clip(np.asarray(p, np.float64), EPSILON, 1 - EPSILON)
    loss: np.ndarray = -np.where(y > 0.5, np.log(p), np.log1p(-p))
    return loss


def brier_rows(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    loss: np.ndarray = (np.asarray(p, np.float64) - y) ** 2
    return loss


LOSSES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"log_loss": log_loss_rows, "brier": brier_rows}


def observed_minus_expected(y: np.ndarray, p: np.ndarray) -> float:
    """Mean outcome less mean prediction: the calibration that the policy watches."""
    return float(np.mean(y) - np.mean(p))


METRICS: dict[str, Metric] = {
    "log_loss": lambda y, p: float(log_loss_rows(y, p).mean()),
    "brier": lambda y, p: float(brier_rows(y, p).mean()),
    "roc_auc": lambda y, p: float(sk.roc_auc_score(y, p)),
    "pr_auc": lambda y, p: float(sk.average_precision_score(y, p)),
    "observed_minus_expected": observed_minus_expected,
}


def with_interval(metric: Metric, y: np.ndarray, p: np.ndarray, days: np.ndarray) -> dict[str, float | None]:
    """The metric with a 95 % interval by the delete-one-day jackknife (Efron and Tibshirani, 1993, chapter 11)."""
    value = metric(y, p)
    names = np.unique(days)
    left_out = np.array([metric(y[days != day], p[days != day]) for day in names]) if len(names) > 2 else np.array([])
    if not len(left_out):
        return {"value": value, "low": None, "high": None}
    g = len(names)
    error = float(np.sqrt((g - 1) / g * ((left_out - left_out.mean()) ** 2).sum()))
    half = float(stats.t.ppf(0.975, g - 1)) * error
    return {"value": value, "low": value - half, "high": value + half}


def daily_difference(loss_a: np.ndarray, loss_b: np.ndarray, days: np.ndarray) -> tuple[float, float, int]:
    """Paired by day: mean over days of (mean loss a - mean loss b), its standard error, and the number of days.

    The mean is exactly 0 where the models agree everywhere; the error of a single day is not known (infinite).
    """
    names, code = np.unique(days, return_inverse=True)
    counts = np.bincount(code)
    daily = np.bincount(code, weights=np.asarray(loss_a, np.float64) - loss_b) / counts
    error = float(daily.std(ddof=1) / np.sqrt(len(names))) if len(names) > 1 else float("inf")
    return float(daily.mean()), error, len(names)


def describe(y: np.ndarray, p: np.ndarray, days: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Every metric with its interval."""
    return {name: with_interval(metric, y, p, days) for name, metric in METRICS.items()}
