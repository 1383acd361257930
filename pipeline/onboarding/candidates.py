"""Which candidates compete for a new problem, with options that fit the number of rows."""

from typing import Any

from core.schema import TaskName

EPOCH_ROWS = 150_000  # rows that a network sees in all: seconds on one core
BATCHES_AN_EPOCH = 16


def listed(task: TaskName, rows: int) -> dict[str, dict[str, Any]]:
    """Small, well regularised models: a table that nobody has looked at yet is more noise than signal."""
    linear: dict[str, dict[str, Any]] = {"linear": {"alpha": 1.0}} if task == "regression" else {"logistic": {"C": 0.3}}
    forest: dict[str, Any] = {"n_estimators": 60, "min_samples_leaf": _between(rows // 300, 3, 50), "max_features": 0.5}
    return {
        **linear,
        "forest": forest | ({"max_samples": 0.3} if rows > 10_000 else {}),
        "hgb": {
            "max_iter": _between(rows // 25, 30, 80),
            "learning_rate": 0.06,
            "max_leaf_nodes": 15,
            "min_samples_leaf": _between(rows // 60, 5, 500),
            "l2_regularization": 1.0,
            "early_stopping": False,
        },
        "mlp": {
            "hidden": [32, 16],
            "embedding": 4,
            "epochs": _between(EPOCH_ROWS // max(rows, 1), 3, 60),
            "batch": _between(2 ** (rows // BATCHES_AN_EPOCH).bit_length() // 2, 16, 512),
            "weight_decay": 0.1,
        },
    }


def _between(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
