"""The candidates by name. Each is a small function: frame in, fitted model out; imported only when it is asked for.

To add one: write the function, name it here, give it a line in problem.yaml.
"""

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from core.errors import ConfigError
from core.schema import Feature

FUNCTIONS = {
    "logistic": "pipeline.candidates.linear:logistic",
    "forest": "pipeline.candidates.trees:forest",
    "hgb": "pipeline.candidates.trees:hgb",
    "mlp": "pipeline.candidates.mlp:mlp",
}
SEED = 20130101


class Fitted(Protocol):
    """A fitted candidate. Its graph takes one tensor a feature, shape (n, 1), and gives `probabilities` (n, 2)."""

    def predict(self, X: pd.DataFrame) -> np.ndarray: ...

    def to_onnx(self) -> bytes: ...


def fit(name: str, features: Mapping[str, Feature], X: pd.DataFrame, y: np.ndarray, options: dict[str, Any]) -> Fitted:
    """Fit a candidate. X holds float32 numbers (NaN when missing) and strings; y is 0/1, shape (n,)."""
    if name not in FUNCTIONS:
        raise ConfigError(f"no candidate {name!r}; there are: {', '.join(FUNCTIONS)}")
    module, _, function = FUNCTIONS[name].partition(":")
    fitted: Fitted = getattr(importlib.import_module(module), function)(features, X, y, **options)
    return fitted
