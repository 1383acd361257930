"""A small problem without files of its own, of any task: three columns, a look-up, two features that matter."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from core.schema import ProblemSpec

COLUMNS: dict[str, Any] = {
    "id": {"type": "string", "description": "event", "example": "a"},
    "who": {"type": "string", "description": "entity", "example": "w"},
    "at": {"type": "datetime", "description": "when", "example": "2013-04-01T00:00:00Z"},
    "size": {"type": "number", "description": "how big", "min": 0, "max": 100, "example": 1, "optional": True},
    "kind": {"type": "category", "description": "which", "example": "red", "optional": True},
}
RAIN = {"keys": ["who"], "tolerance_h": 6, "feed": "live", "values": {"rain": {"description": "mm"}}}
GATE = {"metric": "log_loss", "slice_floor": {"metric": "roc_auc", "floor": 0.55, "min_rows": 100}}
FEATURES = {
    "size": {"kind": "number"},
    "rain": {"kind": "number", "monotone": 1},
    "kind": {"kind": "category"},
    "who": {"kind": "category"},
}
CANDIDATES: dict[str, dict[str, Any]] = {
    "logistic": {"C": 0.1},
    "forest": {"n_estimators": 10, "min_samples_leaf": 20, "max_samples": 0.5},
    "hgb": {"max_iter": 20, "min_samples_leaf": 50, "early_stopping": False},
    "mlp": {"hidden": [8], "embedding": 2, "epochs": 3, "batch": 64, "learning_rate": 0.01},
}


TASKS: dict[str, dict[str, Any]] = {
    "binary": {},
    "multiclass": {
        "classes": ["early", "on time", "late"],
        "gate": {"metric": "log_loss", "slice_floor": {"metric": "accuracy", "floor": 0.35, "min_rows": 100}},
    },
    "regression": {
        "target_unit": "min",
        "gate": {"metric": "mae", "slice_floor": {"metric": "r2", "floor": 0.1, "min_rows": 100}},
    },
}


def spec(gate: Mapping[str, Any] | None = None, task: str = "binary", **more_columns: Any) -> ProblemSpec:
    of_task = TASKS[task]
    return ProblemSpec.model_validate(
        {
            "name": "toy",
            "question": "?",
            "task": task,
            "target": "late",
            "id": "id",
            "entity": "who",
            "time": "at",
            "columns": COLUMNS | more_columns,
            "lookups": {"weather": RAIN},
            "features": FEATURES,
            "slices": ["kind"],
            "classes": [],
            "split": {},
            "candidates": CANDIDATES,
            **of_task,
            "gate": of_task.get("gate", GATE) | dict(gate or {}),
        }
    )


FIRST_DAY, DAYS, ROWS_A_DAY = date(2013, 4, 1), 24, 250
AS_OF = FIRST_DAY + timedelta(days=DAYS)


def frame(seed: int = 0, days: int = DAYS, rows_a_day: int = ROWS_A_DAY, task: str = "binary") -> pd.DataFrame:
    """A table as from pipeline.features: half the truth is in `size` and `kind`; a tenth of the sizes is missing."""
    rng = np.random.default_rng(seed)
    n = days * rows_a_day
    day = np.repeat(np.array([np.datetime64(FIRST_DAY) + d for d in range(days)]), rows_a_day).astype("datetime64[s]")
    size, kind = rng.normal(50, 15, n).astype(np.float32), rng.choice(["red", "green", "blue"], n)
    logit = (size - 55) / 8 + np.where(kind == "red", 1.0, 0.0) + np.repeat(rng.normal(0, 0.2, days), rows_a_day)
    return pd.DataFrame(
        {
            "_id": [f"e{i}" for i in range(n)],
            "_day": day,
            "_known_on": day,
            "_cluster": day,
            "late": _target(task, logit, rng),
            "size": np.where(rng.random(n) < 0.1, np.nan, size).astype(np.float32),
            "rain": rng.exponential(1, n).astype(np.float32),
            "kind": kind,
            "who": rng.choice(["a", "b", "c", "d"], n),
        }
    )


def _target(task: str, logit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = logit + rng.logistic(0, 1, len(logit))
    if task == "binary":
        return (noisy > 0).astype(np.float64)
    if task == "multiclass":
        return np.digitize(noisy, [-1.5, 1.5]).astype(np.float64)
    return 1000.0 + 100.0 * noisy
