"""Uncertainty with clusters, mostly days: the rows of one day share its weather, so they are not independent.

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


def clustered_mean(values: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Mean over all rows; interval from clusters' sums (robust variance, t with clusters - 1 degrees of freedom)."""
    if not len(values):
        return Estimate(None, None, None)
    mean = float(values.mean())
    off = _sums(values - mean, clusters)
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
    means = _sums(differences, days) / _sums(np.ones(len(differences)), days)
    if len(means) < 2 or not means.std() > 0:
        return None
    return float(means.mean() / (means.std(ddof=1) / np.sqrt(len(means))))


def _sums(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    _, index = np.unique(groups, return_inverse=True)
    return np.bincount(index, weights=values)


def _t_quantile(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))
