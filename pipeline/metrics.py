"""Metrics of every task, with intervals that respect clusters: rows of a day are not independent.

Arrays in, numbers out; nothing here reads or writes. core.schema names each task's metrics, core.task has the losses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from core import task
from core.schema import METRICS, ProblemSpec, TaskName
from core.task import Loss

Value = float | None
Described = dict[str, Value]
CALIBRATION = "observed_minus_expected"
GROUPS = 50  # more clusters than that are left out in so many groups


@dataclass(frozen=True)
class Metric:
    """`value`: (y, prediction) -> number; None where it is not defined, such as an AUC of one class."""

    name: str
    value: Callable[[np.ndarray, np.ndarray], Value]
    higher: bool = False  # is better
    rows: Loss | None = None  # its value for each row, when it is their mean


class Difference(NamedTuple):
    """How much worse one model is than another. NaN: the metric is not defined."""

    worse: float
    error: float  # standard error; infinite when it is not known
    clusters: int

    @property
    def t(self) -> float:
        """The t statistic; without any spread over clusters it is infinite."""
        return self.worse / self.error if self.error > 0 else float(np.sign(self.worse)) * float("inf")


def measures(spec: ProblemSpec) -> dict[str, Metric]:
    """The metrics of a problem by name; pinball where a quantile is declared."""
    found = {name: _mean(name, rows) for name, rows in task.of(spec).losses.items()}
    found |= {name: _mean(name, rows, higher=True) for name, rows in HITS[spec.task].items()}
    found |= {metric.name: metric for metric in OTHERS[spec.task]}
    return {name: found[name] for name in METRICS[spec.task] if name in found}


def calibration(spec: ProblemSpec, scale: float) -> Metric:
    """Mean of core.task's residual: what gate and policy watch. Best at 0. `scale` as in core.scored.Trivial."""
    return _mean(CALIBRATION, lambda y, p: task.of(spec).residual(y, p, scale))


def describe(
    spec: ProblemSpec, scale: float, y: np.ndarray, prediction: np.ndarray, clusters: np.ndarray
) -> dict[str, Described]:
    """Every metric and the calibration, each with its interval."""
    wanted = [*measures(spec).values(), calibration(spec, scale)]
    code = np.unique(clusters, return_inverse=True)[1]  # numbers are quicker to tell apart than names
    return {metric.name: with_interval(metric, y, prediction, code) for metric in wanted}


def with_interval(metric: Metric, y: np.ndarray, prediction: np.ndarray, clusters: np.ndarray) -> Described:
    """The metric with a 95 % interval; without one when there are fewer than three clusters."""
    value = metric.value(y, prediction)
    error, groups = _jackknife(lambda kept: metric.value(y[kept], prediction[kept]), clusters)
    if value is None or groups < 3 or not np.isfinite(error):
        return {"value": value, "low": None, "high": None}
    half = float(stats.t.ppf(0.975, groups - 1)) * error
    return {"value": value, "low": value - half, "high": value + half}


def difference(metric: Metric, y: np.ndarray, a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> Difference:
    """How much worse prediction `a` is than `b`, whichever direction is the good one. Paired: of the same rows.

    A mean over rows is compared by cluster means; any other metric by leaving out one cluster at a time.
    """
    if metric.higher:
        a, b = b, a
    if metric.rows is not None:
        return cluster_difference(metric.rows(y, a), metric.rows(y, b), clusters)

    def worse(kept: np.ndarray) -> Value:
        mine, other = metric.value(y[kept], a[kept]), metric.value(y[kept], b[kept])
        return None if mine is None or other is None else mine - other

    whole = worse(np.ones(len(y), bool))
    error = _jackknife(worse, clusters)[0]
    return Difference(float("nan") if whole is None else whole, error, len(np.unique(clusters)))


def cluster_difference(loss_a: np.ndarray, loss_b: np.ndarray, clusters: np.ndarray) -> Difference:
    """Mean over clusters of (mean loss a - mean loss b), with the standard error of that mean.

    It is exactly 0 where the models agree everywhere; the error of a single cluster is not known (infinite).
    """
    names, code = np.unique(clusters, return_inverse=True)
    means = np.bincount(code, weights=np.asarray(loss_a, np.float64) - loss_b) / np.bincount(code)
    error = float(means.std(ddof=1) / np.sqrt(len(names))) if len(names) > 1 else float("inf")
    return Difference(float(means.mean()), error, len(names))


def _jackknife(statistic: Callable[[np.ndarray], Value], clusters: np.ndarray) -> tuple[float, int]:
    """Standard error by leaving out one group of clusters at a time, and how many groups there are.

    `statistic` takes a mask of rows. A group is one cluster (Efron and Tibshirani, 1993, chapter 11); of many clusters
    several, at random (Kott, 2001). Infinite for one group, and when leaving one out leaves nothing to measure.
    """
    names, code = np.unique(clusters, return_inverse=True)
    groups = min(len(names), GROUPS)
    if groups < len(names):
        code = (np.random.default_rng(0).permutation(len(names)) % groups)[code]
    if groups < 2:
        return float("inf"), groups
    left = [statistic(code != group) for group in range(groups)]
    known = np.array([value for value in left if value is not None])
    if len(known) < groups:
        return float("inf"), groups
    return float(np.sqrt((groups - 1) / groups * ((known - known.mean()) ** 2).sum())), groups


def _mean(name: str, rows: Loss, higher: bool = False) -> Metric:
    return Metric(name, lambda y, p: float(rows(y, p).mean()), higher, rows)


def _hit(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """1 where the likelier of two classes is the right one."""
    hit: np.ndarray = (p >= 0.5) == (y > 0.5)
    return hit.astype(np.float64)


def _top(k: int) -> Loss:
    """1 where the right class is among the k likeliest; of equal ones the later counts as likelier."""

    def rows(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        likeliest = np.argsort(p, axis=1, kind="stable")[:, -k:]
        hit: np.ndarray = (likeliest == np.asarray(y)[:, None]).any(axis=1)
        return hit.astype(np.float64)

    return rows


def _most_likely(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    hit: np.ndarray = p.argmax(axis=1) == y
    return hit.astype(np.float64)


def _of_both(score: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray, np.ndarray], Value]:
    """A score that needs rows of both classes."""
    return lambda y, p: float(score(y, p)) if len(np.unique(y)) == 2 else None


def _f1(y: np.ndarray, p: np.ndarray) -> Value:
    """Of the positive class; not defined where there is none and none is predicted."""
    value = float(sk.f1_score(y > 0.5, p >= 0.5, zero_division=np.nan))
    return None if np.isnan(value) else value


def _macro_f1(y: np.ndarray, p: np.ndarray) -> Value:
    """The mean over the classes that are there or are predicted."""
    return float(sk.f1_score(y.astype(np.int64), p.argmax(axis=1), average="macro"))


def _r2(y: np.ndarray, p: np.ndarray) -> Value:
    """Not defined without any spread of y."""
    return float(sk.r2_score(y, p)) if len(y) and np.ptp(y) > 0 else None


HITS: dict[TaskName, dict[str, Loss]] = {
    "binary": {"accuracy": _hit},
    "multiclass": {"accuracy": _most_likely, "top_2_accuracy": _top(2)},
    "regression": {},
}
OTHERS: dict[TaskName, list[Metric]] = {
    "binary": [
        Metric("roc_auc", _of_both(sk.roc_auc_score), higher=True),
        Metric("pr_auc", _of_both(sk.average_precision_score), higher=True),
        Metric("f1", _f1, higher=True),
    ],
    "multiclass": [Metric("macro_f1", _macro_f1, higher=True)],
    "regression": [
        Metric("rmse", lambda y, p: float(sk.root_mean_squared_error(y, p))),
        Metric("r2", _r2, higher=True),
    ],
}
