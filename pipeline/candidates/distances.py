"""Candidates that compare a row with the training rows, which their graphs hold: both thin them to stay small."""

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR

from core.columns import Columns
from core.schema import ProblemSpec
from pipeline.candidates import checks, sklearn_model
from pipeline.candidates.sklearn_model import SklearnModel, one_hot, scaled

FOLDS = 3  # of Platt's scaling, in the order of time


def svm(spec: ProblemSpec, X: Columns, y: np.ndarray, max_rows: int = 5000, **options: Any) -> SklearnModel:
    """A support vector machine, RBF unless `kernel` says otherwise. Its time grows with the square of the rows.

    Of several classes each is set against the rest: the votes of pairs jump where a float32 graph rounds.
    """
    checks.no_quantile(spec)
    X, y = checks.thinned(X, y, max_rows)
    checks.enough(spec, X, y, smallest=FOLDS)
    if spec.task == "regression":
        return sklearn_model.fit(spec, _dense(), scaled(), SVR(**options), X, y)
    one = SVC(**options)
    machine = one if len(np.unique(y)) == 2 else OneVsRestClassifier(one)
    platt = CalibratedClassifierCV(machine, ensemble=False, cv=FOLDS)
    return sklearn_model.fit(spec, _dense(), scaled(), platt, X, y)


def knn(spec: ProblemSpec, X: Columns, y: np.ndarray, max_rows: int = 10_000, **options: Any) -> SklearnModel:
    """The nearest neighbours' mean. Weighted by distance its graph is seldom faithful; the parity check says so."""
    checks.no_quantile(spec)
    kind = KNeighborsRegressor if spec.task == "regression" else KNeighborsClassifier
    rows = checks.thinned(X, y, max_rows)
    return sklearn_model.fit(spec, _dense(), scaled(), kind(**options), *rows, optim="cdist")


def _dense() -> Any:
    return one_hot(sparse_output=False)
