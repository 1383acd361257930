"""A torch MLP with an embedding a category. The only module that imports torch.

The graph is scikit-learn's encoder (strings to indices, numbers scaled) joined to the network, so preprocessing is
inside it, as with every other candidate.
"""

import io
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.compose
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from torch import nn

from core.schema import Feature
from pipeline.candidates import SEED
from pipeline.candidates.sklearn_model import input_types, names, serialized

OPSET = 17
log = logging.getLogger(__name__)


class Network(nn.Module):
    """Input (n, categories + numbers), categories first as indices (-1 when unseen); output probabilities (n, 2)."""

    def __init__(self, sizes: Sequence[int], numbers: int, hidden: Sequence[int], width: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)
        layers: list[nn.Module] = []
        wide = len(sizes) * width + numbers
        for size in hidden:
            layers += [nn.Linear(wide, size), nn.ReLU()]
            wide = size
        self.head = nn.Sequential(*layers, nn.Linear(wide, 1))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (n, 1). Index 0 of an embedding is the unseen category."""
        indices = x[:, : len(self.embeddings)].long() + 1
        embedded = [table(indices[:, i]) for i, table in enumerate(self.embeddings)]
        out: torch.Tensor = self.head(torch.cat([*embedded, x[:, len(self.embeddings) :]], dim=1))
        return out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        positive = torch.sigmoid(self.logits(x))
        return torch.cat([1 - positive, positive], dim=1)


@dataclass(frozen=True)
class TorchModel:
    encoder: Pipeline
    network: Network
    features: Mapping[str, Feature]

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        with torch.no_grad():
            probabilities: np.ndarray = self.network(_encode(self.encoder, X)).numpy()
        return probabilities[:, 1]

    def to_onnx(self) -> bytes:
        from skl2onnx import to_onnx

        encoder = to_onnx(self.encoder, initial_types=input_types(self.features), target_opset=OPSET)
        network = _export(self.network, len(self.features))
        network.ir_version = encoder.ir_version
        encoder = onnx.compose.add_prefix(encoder, "encoder_", rename_inputs=False, rename_outputs=False)
        whole = onnx.compose.merge_models(encoder, network, io_map=[(encoder.graph.output[0].name, "encoded")])
        return serialized(whole)


def mlp(
    features: Mapping[str, Feature],
    X: pd.DataFrame,
    y: np.ndarray,
    hidden: Sequence[int] = (64, 32),
    embedding: int = 4,
    epochs: int = 3,
    batch: int = 512,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.1,
) -> TorchModel:
    """An MLP with embeddings, trained with AdamW; the same seed gives the same bits on one CPU thread."""
    torch.manual_seed(SEED)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    encoder = _encoder(features).fit(X)
    sizes = [len(c) for c in encoder.named_steps["encode"].named_transformers_["categories"].categories_]
    network = Network(sizes, len(names(features, "number")), hidden, embedding)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    inputs, targets = _encode(encoder, X), torch.tensor(np.asarray(y, np.float32)).reshape(-1, 1)
    for epoch in range(epochs):
        loss = _epoch(network, optimiser, inputs, targets, batch)
        log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, loss)
    return TorchModel(encoder, network.eval(), features)


def _epoch(network: Network, optimiser: Any, inputs: torch.Tensor, targets: torch.Tensor, batch: int) -> float:
    """One pass in random order; returns the mean loss."""
    total = 0.0
    for rows in torch.randperm(len(inputs)).split(batch):  # type: ignore[no-untyped-call]
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network.logits(inputs[rows]), targets[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item() * len(rows)
    return total / len(inputs)


def _encoder(features: Mapping[str, Feature]) -> Pipeline:
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = [("categories", categories, names(features, "category")), ("numbers", numbers, names(features, "number"))]
    return Pipeline([("encode", ColumnTransformer(columns))])


def _encode(encoder: Pipeline, X: pd.DataFrame) -> torch.Tensor:
    return torch.from_numpy(np.asarray(encoder.transform(X), np.float32))


def _export(network: Network, width: int) -> onnx.ModelProto:
    """By torch's tracing exporter: the newer one takes 8 s and another package for the same graph."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(2, width),),
            file,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["encoded"],
            output_names=["probabilities"],
            dynamic_axes={"encoded": {0: "n"}, "probabilities": {0: "n"}},
        )
    return onnx.load_from_string(file.getvalue())
