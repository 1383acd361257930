"""How a network gets its features: encoded categories and numbers, or one array.

Numbers and categories go through scikit-learn's encoder, whose graph is joined to the network's, so preprocessing is
inside it, as with every other candidate. An array goes in as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx
import onnx.compose
import torch
from sklearn.pipeline import Pipeline
from torch import nn

from core.columns import Columns
from core.schema import ProblemSpec
from pipeline.candidates import checks, export
from pipeline.candidates.sklearn_model import encoder, matrix, ordinal, scaled


class Inputs(Protocol):
    """Features as one tensor."""

    @property
    def name(self) -> str:
        """Of the network's input."""

    @property
    def width(self) -> int: ...

    def tensor(self, X: Columns) -> torch.Tensor:
        """Float32, shape (n, width)."""

    def joined(self, network: onnx.ModelProto) -> onnx.ModelProto:
        """The network's graph to one that takes raw features."""


@dataclass(frozen=True)
class Tabular:
    """Categories first, as indices (-1 when unseen), then standardised numbers."""

    spec: ProblemSpec
    pipeline: Pipeline
    sizes: Sequence[int]  # known values of each category
    numbers: int
    name = "encoded"

    @classmethod
    def of(cls, spec: ProblemSpec, X: Columns) -> "Tabular":
        encode = encoder(spec, ordinal(dtype=np.float32), scaled()).fit(matrix(spec, X))
        categories = checks.of_kind(spec, "category")
        sizes = [len(seen) for seen in encode.named_transformers_["categories"].categories_] if categories else []
        return cls(spec, Pipeline([("encode", encode)]), sizes, len(checks.of_kind(spec, "number")))

    @property
    def width(self) -> int:
        return len(self.sizes) + self.numbers

    def tensor(self, X: Columns) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self.pipeline.transform(matrix(self.spec, X)), np.float32))

    def joined(self, network: onnx.ModelProto) -> onnx.ModelProto:
        from skl2onnx import to_onnx

        before = to_onnx(self.pipeline, initial_types=export.input_types(self.spec), target_opset=export.OPSET)
        network.ir_version = before.ir_version
        before = onnx.compose.add_prefix(before, "encoder_", rename_inputs=False, rename_outputs=False)
        return onnx.compose.merge_models(before, network, io_map=[(before.graph.output[0].name, self.name)])


@dataclass(frozen=True)
class OneArray:
    name: str
    width: int
    mean: float  # of all its numbers in the training rows
    std: float

    @classmethod
    def of(cls, name: str, X: Columns) -> "OneArray":
        values = X[name].astype(np.float64)
        return cls(name, values.shape[1], float(values.mean()), float(values.std()) or 1.0)

    def tensor(self, X: Columns) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(X[self.name], np.float32))

    def joined(self, network: onnx.ModelProto) -> onnx.ModelProto:
        return network


class Scale(nn.Module):
    """All numbers of an array by one mean and one standard deviation, inside the network."""

    def __init__(self, array: OneArray) -> None:
        super().__init__()
        self.mean, self.std = array.mean, array.std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.std
