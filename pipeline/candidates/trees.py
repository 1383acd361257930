"""Tree candidates, on ordinal categories. ADR 4 says why not on one-hot or native ones."""

from typing import Any

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from core.columns import Columns
from core.schema import ProblemSpec
from pipeline.candidates import SEED, checks, sklearn_model
from pipeline.candidates.sklearn_model import SklearnModel, imputed, ordinal


def tree(spec: ProblemSpec, X: Columns, y: np.ndarray, **options: Any) -> SklearnModel:
    """One decision tree: what can be read on a page."""
    checks.no_quantile(spec)
    kind = DecisionTreeRegressor if spec.task == "regression" else DecisionTreeClassifier
    return sklearn_model.fit(spec, ordinal(), imputed(), kind(random_state=SEED, **options), X, y)


def forest(spec: ProblemSpec, X: Columns, y: np.ndarray, **options: Any) -> SklearnModel:
    """A random forest; a regression's predicts the mean, whatever the metric."""
    checks.no_quantile(spec)
    kind = RandomForestRegressor if spec.task == "regression" else RandomForestClassifier
    return sklearn_model.fit(spec, ordinal(), imputed(), kind(random_state=SEED, n_jobs=1, **options), X, y)


def hgb(spec: ProblemSpec, X: Columns, y: np.ndarray, **options: Any) -> SklearnModel:
    """Histogram gradient boosting; missing numbers go their own way, monotone features are held to it."""
    given = {"random_state": SEED, "monotonic_cst": _monotone(spec), **options}
    if spec.task == "regression":
        model = HistGradientBoostingRegressor(loss=checks.loss(spec), quantile=spec.gate.quantile, **given)
    else:
        model = HistGradientBoostingClassifier(**given)
    return sklearn_model.fit(spec, ordinal(), "passthrough", model, X, y)


def _monotone(spec: ProblemSpec) -> list[int] | None:
    """One sign a column of the encoder; None where no order is asked for, which several classes need."""
    ordered = [feature.monotone for feature in spec.features.values() if feature.kind == "number"]
    if not any(ordered) or spec.task == "multiclass":
        return None
    return [0] * len(checks.of_kind(spec, "category")) + ordered
