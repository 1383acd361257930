"""What moved one prediction: how much each feature took it away from that of the training rows' typical row.

It works on any graph, with tables only: the numbers of an array have no typical value. Shapley's method: core.shapley.
"""

from dataclasses import dataclass

import numpy as np

from core.columns import Columns
from core.errors import ModelRefused
from core.runtime import OnnxModel
from core.shapley import shares

PAIRS = 25  # of orders: docs/performance.md has what more of them cost and gain
MOST = 4096  # rows of the graph: hundreds of features get fewer orders


@dataclass(frozen=True)
class Explanation:
    """baseline + the sum of the contributions is what was explained, but for float32's rounding: the probability of the
    positive or the predicted class, or the value."""

    contributions: dict[str, float]  # of each feature; 0 where the row is like the typical one
    baseline: float  # the typical row's


def explain(model: OnnxModel, row: Columns, prediction: np.ndarray, pairs: int | None = None) -> Explanation:
    """`row`: a model's inputs, shape (1,) each, and what it predicts for them, shape (1,) or (1, k); `pairs` of orders:
    by default as many as are quick.

    Raises ModelRefused when the contract has no background, or the graph fails between it and the row.
    """
    kinds, background = model.contract.features, model.contract.background
    if background is None:
        raise ModelRefused("it has no typical row to compare with: it was registered before models had one")
    typical = {name: _like(row[name], np.nan if value is None else value) for name, value in background.items()}
    moved = [name for name in kinds if not _same(row[name], typical[name])]
    chosen = int(prediction[0].argmax()) if prediction.ndim == 2 else None

    def worth(members: np.ndarray) -> np.ndarray:
        mixed = {name: np.repeat(row[name], len(members)) for name in kinds}
        for name, member in zip(moved, members.T, strict=True):
            mixed[name] = np.where(member, row[name], typical[name])
        found = _predicted(model, mixed)
        return found if chosen is None else found[:, chosen]

    found = shares(worth, len(moved), pairs or quick(len(moved)))
    return Explanation(dict.fromkeys(kinds, 0.0) | dict(zip(moved, found.values.tolist(), strict=True)), found.baseline)


def quick(players: int) -> int:
    """Pairs of orders for so many features."""
    return max(1, min(PAIRS, MOST // max(1, 2 * players)))


def _predicted(model: OnnxModel, mixed: Columns) -> np.ndarray:
    try:
        found = model.predict(mixed)
    except Exception as error:
        raise ModelRefused(f"its graph fails between the typical row and this one: {type(error).__name__}") from error
    if not np.isfinite(found).all():
        raise ModelRefused("its graph gives no finite number between the typical row and this one")
    return found


def _like(values: np.ndarray, value: float | str) -> np.ndarray:
    return np.array([value], values.dtype)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(one[0] == other[0] or (one[0] != one[0] and other[0] != other[0]))
