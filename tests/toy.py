"""A small problem without files of its own: three columns, a look-up, two features that matter."""

from collections.abc import Mapping
from typing import Any

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
    "size": {"kind": "number", "monotone": 1},
    "rain": {"kind": "number"},
    "kind": {"kind": "category"},
    "who": {"kind": "category"},
}
CANDIDATES: dict[str, dict[str, Any]] = {
    "logistic": {"C": 0.1},
    "forest": {"n_estimators": 10, "min_samples_leaf": 20, "max_samples": 0.5},
    "hgb": {"max_iter": 20, "min_samples_leaf": 50, "early_stopping": False},
    "mlp": {"hidden": [8], "embedding": 2, "epochs": 1},
}


def spec(gate: Mapping[str, Any] | None = None, **more_columns: Any) -> ProblemSpec:
    return ProblemSpec.model_validate(
        {
            "name": "toy",
            "question": "?",
            "task": "binary",
            "target": "late",
            "id": "id",
            "entity": "who",
            "time": "at",
            "columns": COLUMNS | more_columns,
            "lookups": {"weather": RAIN},
            "features": FEATURES,
            "slices": ["kind"],
            "gate": GATE | dict(gate or {}),
            "candidates": CANDIDATES,
        }
    )
