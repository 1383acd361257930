"""Linear candidates."""

from collections.abc import Mapping
from typing import Any

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from core.schema import Feature
from pipeline.candidates import SEED, sklearn_model
from pipeline.candidates.sklearn_model import SklearnModel


def logistic(features: Mapping[str, Feature], X: Any, y: Any, **options: Any) -> SklearnModel:
    """One-hot categories and standardised numbers into a regularised logistic regression."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    model = LogisticRegression(random_state=SEED, **options)
    return sklearn_model.fit(features, OneHotEncoder(handle_unknown="ignore"), numbers, model, X, y)
