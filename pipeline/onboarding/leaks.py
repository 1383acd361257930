"""How well a single column gives the target away, on rows that it was not fitted to."""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from core.schema import TaskName

COPY = 0.999  # a column that alone reaches this is taken for a copy of the target
STRONG = 0.9  # and one that reaches this is worth a question
ROWS = 20_000
BINS = 50
SEED = 20130101


def alone(values: pd.Series, y: np.ndarray, task: TaskName) -> float:
    """ROC-AUC (binary), share of the avoidable errors avoided (multiclass) or R² of the ranks (regression), at most 1.

    From half of the rows, of which y is known, to the other half: by interpolation and by quantile bins, the better.
    """
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(~np.isnan(y)))[:ROWS]
    half = len(order) // 2
    outcome = _outcome(y[order], task)
    x = _codes(values.iloc[order], outcome[:half], half)
    tries = (_interpolated(x[:half], outcome[:half], x[half:]), _binned(x[:half], outcome[:half], x[half:]))
    return max(_score(outcome[half:], guess, task) for guess in tries)


def measure(task: TaskName) -> str:
    return {"binary": "ROC-AUC", "multiclass": "errors avoided", "regression": "R² of ranks"}[task]


def _outcome(y: np.ndarray, task: TaskName) -> np.ndarray:
    """Shape (n, k): what is interpolated. Ranks of a number, so that a few large values do not decide."""
    if task == "multiclass":
        return np.eye(int(y.max()) + 1)[y.astype(np.int64)]
    return (rankdata(y) / len(y) if task == "regression" else y)[:, None]


def _codes(values: pd.Series, outcome: np.ndarray, half: int) -> np.ndarray:
    """Numbers as they are, a category by its mean outcome in the first half; missing is a value of its own."""
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        x = values.to_numpy(np.float64, na_value=np.nan) if values.dtype.kind == "f" else _seconds(values)
        low = np.nanmin(x) if not np.isnan(x).all() else 0.0
        return np.where(np.isnan(x), low - 1.0, x)
    code = pd.factorize(values, use_na_sentinel=False)[0]
    weight = outcome @ np.arange(1, outcome.shape[1] + 1)
    count = np.bincount(code[:half], minlength=code.max() + 1)
    total = np.bincount(code[:half], weights=weight, minlength=code.max() + 1)
    return np.asarray((total + weight.mean()) / (count + 1))[code]


def _seconds(values: pd.Series) -> np.ndarray:
    seconds = values.to_numpy("datetime64[s]")
    return np.where(np.isnat(seconds), np.nan, seconds.astype(np.int64).astype(np.float64))


def _interpolated(x: np.ndarray, outcome: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Between the means of each value of x that was seen."""
    points, code = np.unique(x, return_inverse=True)
    counts = np.bincount(code)
    means = [np.bincount(code, weights=column) / counts for column in outcome.T]
    return np.column_stack([np.interp(new, points, mean) for mean in means])


def _binned(x: np.ndarray, outcome: np.ndarray, new: np.ndarray) -> np.ndarray:
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1]))
    code = np.searchsorted(edges, x, side="right")
    counts = np.bincount(code, minlength=len(edges) + 1)
    means = [
        np.bincount(code, weights=column, minlength=len(edges) + 1) / np.maximum(counts, 1) for column in outcome.T
    ]
    return np.column_stack(means)[np.searchsorted(edges, new, side="right")]


def _score(outcome: np.ndarray, guess: np.ndarray, task: TaskName) -> float:
    if task == "multiclass":
        wrong = float((outcome.argmax(axis=1) != guess.argmax(axis=1)).mean())
        avoidable = 1 - float(outcome.mean(axis=0).max())
        return 1 - wrong / avoidable if avoidable else 0.0
    if task == "regression":
        spread = float(outcome.var())
        return 1 - float(((outcome - guess) ** 2).mean()) / spread if spread else 0.0
    return _auc(outcome[:, 0], guess[:, 0])


def _auc(y: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs in the right order, ties as half (Mann and Whitney)."""
    positives, negatives = int(y.sum()), int(len(y) - y.sum())
    if not positives or not negatives:
        return 0.5
    ranks = rankdata(score)[y == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))
