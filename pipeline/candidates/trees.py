"""Tree candidates, on ordinal categories. ADR 4 says why not on one-hot or native ones."""

from collections.abc import Mapping
from typing import Any

from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OrdinalEncoder

from core.schema import Feature
from pipeline.candidates import SEED, sklearn_model
from pipeline.candidates.sklearn_model import SklearnModel


def forest(features: Mapping[str, Feature], X: Any, y: Any, **options: Any) -> SklearnModel:
    """A random forest on ordinal categories and median-imputed numbers."""
    model = RandomForestClassifier(random_state=SEED, n_jobs=1, **options)
    return sklearn_model.fit(features, _ordinal(), SimpleImputer(strategy="median"), model, X, y)


def hgb(features: Mapping[str, Feature], X: Any, y: Any, **options: Any) -> SklearnModel:
    """Histogram gradient boosting; missing numbers go their own way, monotone features are held to it."""
    categories = [0 for feature in features.values() if feature.kind == "category"]
    monotone = [feature.monotone for feature in features.values() if feature.kind == "number"]
    model = HistGradientBoostingClassifier(random_state=SEED, monotonic_cst=categories + monotone, **options)
    return sklearn_model.fit(features, _ordinal(), "passthrough", model, X, y)


def _ordinal() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
