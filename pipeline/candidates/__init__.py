"""The candidates by name. Each is a small function: inputs in, fitted model out; imported only when it is asked for.

To add one: write `f(spec, X, y, **options)`, name it here, give it a line in problem.yaml. One that cannot do what the
problem asks raises ModelRefused and says why; checks.py has the usual reasons.
"""

import importlib
from typing import Any, Protocol

import numpy as np

from core.columns import Columns
from core.errors import ConfigError
from core.schema import ProblemSpec

FUNCTIONS = {
    "logistic": "pipeline.candidates.linear:logistic",
    "linear": "pipeline.candidates.linear:linear",
    "tree": "pipeline.candidates.trees:tree",
    "forest": "pipeline.candidates.trees:forest",
    "hgb": "pipeline.candidates.trees:hgb",
    "svm": "pipeline.candidates.distances:svm",
    "knn": "pipeline.candidates.distances:knn",
    "mlp": "pipeline.candidates.mlp:mlp",
    "cnn": "pipeline.candidates.cnn:cnn",
    "transformer": "pipeline.candidates.transformer:transformer",
}
SEED = 20130101


class Fitted(Protocol):
    """A fitted candidate. Its graph takes one tensor a feature and gives what core.runtime describes."""

    @property
    def device(self) -> str:
        """What it was fitted on: "cpu", or the name of a GPU."""

    @property
    def embedding(self) -> int:
        """Width of the graph's output `embedding`; 0: it has none."""

    def predict(self, X: Columns) -> np.ndarray:
        """Predictions as core.task describes, in the target's unit."""

    def to_onnx(self) -> bytes:
        """The same bytes for the same rows and options."""


def fit(name: str, spec: ProblemSpec, X: Columns, y: np.ndarray, options: dict[str, Any]) -> Fitted:
    """Fit a candidate. X: float32 numbers (NaN when missing) and strings, shape (n,), arrays (n, size); y: (n,).

    Raises ModelRefused when it cannot do what the problem asks.
    """
    if name not in FUNCTIONS:
        raise ConfigError(f"no candidate {name!r}; there are: {', '.join(FUNCTIONS)}")
    module, _, function = FUNCTIONS[name].partition(":")
    fitted: Fitted = getattr(importlib.import_module(module), function)(spec, X, y, **options)
    return fitted
