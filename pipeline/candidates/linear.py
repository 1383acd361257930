"""Linear candidates: one-hot categories, standardised numbers."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, QuantileRegressor, Ridge

from core.columns import Columns
from core.schema import ProblemSpec
from pipeline.candidates import SEED, checks, sklearn_model
from pipeline.candidates.sklearn_model import SklearnModel, one_hot, scaled


def logistic(spec: ProblemSpec, X: Columns, y: np.ndarray, **options: Any) -> SklearnModel:
    """A regularised logistic regression."""
    checks.for_tasks(spec, *checks.CLASSES)
    model = LogisticRegression(random_state=SEED, **options)
    return sklearn_model.fit(spec, one_hot(), scaled(), model, X, y)


def linear(spec: ProblemSpec, X: Columns, y: np.ndarray, max_rows: int = 5000, **options: Any) -> SklearnModel:
    """Ridge regression; where a quantile is asked for, a quantile regression on at most `max_rows` rows, since its
    time grows with their square. `alpha` is the strength of the penalty in both."""
    checks.for_tasks(spec, "regression")
    if spec.gate.quantile is None:
        return sklearn_model.fit(spec, one_hot(), scaled(), Ridge(**options), X, y)
    model = QuantileRegressor(quantile=spec.gate.quantile, **{"alpha": 1e-3, **options})
    return sklearn_model.fit(spec, one_hot(), scaled(), model, *checks.thinned(X, y, max_rows))
