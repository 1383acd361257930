"""What the scikit-learn candidates share: preprocessing that converts to ONNX faithfully, and the conversion.

Encoders and imputers are inside the pipeline, so the graph takes raw features. HistGradientBoosting's own categorical
splits are not used: the converter reads them as numeric thresholds, silently.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from core.schema import Feature, Kind


@dataclass(frozen=True)
class SklearnModel:
    pipeline: Pipeline
    features: Mapping[str, Feature]

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        probabilities: np.ndarray = self.pipeline.predict_proba(X)
        return probabilities[:, 1]

    def to_onnx(self) -> bytes:
        from skl2onnx import to_onnx

        types = input_types(self.features)
        return serialized(to_onnx(self.pipeline, initial_types=types, options={"zipmap": False}, target_opset=17))


def serialized(graph: Any) -> bytes:
    """The same bytes for the same graph: skl2onnx lists operator sets in the order of a Python set."""
    opsets = sorted(graph.opset_import, key=lambda opset: str(opset.domain))
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    return bytes(graph.SerializeToString(deterministic=True))


def input_types(features: Mapping[str, Feature]) -> list[tuple[str, Any]]:
    """One input a feature, shape (n, 1): the signature of every graph that we register."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = {"number": FloatTensorType, "category": StringTensorType}
    return [(name, kinds[feature.kind]([None, 1])) for name, feature in features.items()]


def names(features: Mapping[str, Feature], kind: Kind) -> list[str]:
    return [name for name, feature in features.items() if feature.kind == kind]


def fit(features: Mapping[str, Feature], categories: Any, numbers: Any, model: Any, X: Any, y: Any) -> SklearnModel:
    """Fit `model` behind a transformer for the categories and one for the numbers."""
    encode = ColumnTransformer(
        [("categories", categories, names(features, "category")), ("numbers", numbers, names(features, "number"))]
    )
    return SklearnModel(Pipeline([("encode", encode), ("model", model)]).fit(X, y), features)
