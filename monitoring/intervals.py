"""Uncertainty with days as clusters: the rows of one day share its weather, so they are not independent.

Per-row intervals would be several times too narrow (the study: 22 times the variance).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over rows and its 95 % interval. None where the rows do not allow it."""

    mean: float | None
    low: float | None
    high: float | None


def clustered_mean(values: np.ndarray, days: np.ndarray) -> Estimate:
    """Mean over all rows; interval from the day sums (cluster-robust variance, t with days - 1 degrees of freedom)."""
    if not len(values):
        return Estimate(None, None, None)
    mean = float(values.mean())
    off = _day_sums(values - mean, days)
    count = len(off)
    if count < 2:
        return Estimate(mean, None, None)
    error = float(np.sqrt(count / (count - 1) * np.sum(off**2)) / len(values))
    half = _t_quantile(count - 1) * error
    return Estimate(mean, mean - half, mean + half)


def daily_t(differences: np.ndarray, days: np.ndarray) -> float | None:
    """t statistic of the day means of paired differences. None for fewer than two days or no spread."""
    if not len(differences):
        return None
    means = _day_sums(differences, days) / _day_sums(np.ones(len(differences)), days)
    if len(means) < 2 or not means.std() > 0:
        return None
    return float(means.mean() / (means.std(ddof=1) / np.sqrt(len(means))))


def log_losses(outcomes: np.ndarray, predictions: np.ndarray | float) -> np.ndarray:
    """Log loss of each row, shape (n,); predictions are kept 1e-7 away from 0 and 1, the resolution of float32."""
    p = np.clip(predictions, 1e-7, 1 - 1e-7)
    losses: np.ndarray = -(outcomes * np.log(p) + (1 - outcomes) * np.log(1 - p))
    return losses


def _day_sums(values: np.ndarray, days: np.ndarray) -> np.ndarray:
    _, index = np.unique(days, return_inverse=True)
    return np.bincount(index, weights=values)


def _t_quantile(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))
