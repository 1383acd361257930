"""What the scikit-learn candidates share: preprocessing that converts to ONNX faithfully, and the conversion.

Encoders and imputers are inside the pipeline, so the graph takes raw features. An array is taken as it is: its
numbers have one unit, which features.py chose. HistGradientBoosting's own categorical splits are not used: the
converter reads them as numeric thresholds, silently.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from core.columns import Columns
from core.schema import ProblemSpec
from core.task import of
from pipeline.candidates import checks, export


@dataclass(frozen=True)
class SklearnModel:
    """A fitted pipeline that ends in a classifier of class indices, or a regressor of the standardised target."""

    pipeline: Pipeline
    spec: ProblemSpec
    standard: export.Standard | None  # of a regression's target
    converter: dict[str, Any] = field(default_factory=dict)  # options of skl2onnx for the last step
    device = "cpu"
    embedding = 0

    def predict(self, X: Columns) -> np.ndarray:
        if self.standard is not None:
            return self.standard.back(self.pipeline.predict(matrix(self.spec, X)))
        present: np.ndarray = self.pipeline.predict_proba(matrix(self.spec, X))
        probabilities = np.zeros((len(present), self._classes))
        probabilities[:, self._present] = present
        return of(self.spec).arrange(probabilities)

    def to_onnx(self) -> bytes:
        from skl2onnx import to_onnx

        zipmap = {"zipmap": False} if self.standard is None else {}
        options = {id(self.pipeline.steps[-1][1]): zipmap | self.converter}
        types = export.input_types(self.spec)
        with warnings.catch_warnings():  # its converter of support vector machines looks for their old probabilities
            warnings.filterwarnings("ignore", "Attribute `prob", FutureWarning)
            graph = to_onnx(self.pipeline, initial_types=types, options=options, target_opset=export.OPSET)
        if self.standard is not None:
            graph = export.in_unit(graph, graph.graph.output[0].name, self.standard)
        elif len(self._present) < self._classes:
            graph = export.spread(graph, self._present, self._classes)
        return export.serialized(graph)

    @property
    def _classes(self) -> int:
        return len(self.spec.classes) or 2

    @property
    def _present(self) -> list[int]:
        return [int(code) for code in self.pipeline.classes_]


def fit(
    spec: ProblemSpec, categories: Any, numbers: Any, model: Any, X: Columns, y: np.ndarray, **converter: Any
) -> SklearnModel:
    """Fit `model` behind a transformer for the categories and one for the numbers; on an array, without them."""
    checks.enough(spec, X, y)
    standard = export.Standard.of(y) if spec.task == "regression" else None
    target = y.astype(np.int64) if standard is None else standard.scaled(y)
    encode = [] if checks.single_array(spec) else [("encode", encoder(spec, categories, numbers))]
    pipeline = Pipeline([*encode, ("model", model)]).fit(matrix(spec, X), target)
    return SklearnModel(pipeline, spec, standard, converter)


def encoder(spec: ProblemSpec, categories: Any, numbers: Any) -> ColumnTransformer:
    """Categories first, then numbers."""
    columns = checks.of_kind(spec, "category"), checks.of_kind(spec, "number")
    parts = [("categories", categories, columns[0]), ("numbers", numbers, columns[1])]
    return ColumnTransformer([part for part in parts if part[2]])


def matrix(spec: ProblemSpec, X: Columns) -> Any:
    """What scikit-learn takes: a frame of numbers and categories, or the array, shape (n, size)."""
    array = checks.single_array(spec)
    return X[array] if array else pd.DataFrame({name: X[name] for name in spec.features})


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", **options)


def ordinal(**options: Any) -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, **options)


def imputed() -> SimpleImputer:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def scaled() -> Pipeline:
    return make_pipeline(imputed(), StandardScaler())
