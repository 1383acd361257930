"""A torch MLP: an embedding a category beside the numbers, or the numbers of one array."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from core.columns import Columns
from core.schema import ProblemSpec
from pipeline.candidates import checks, torch_model
from pipeline.candidates.torch_inputs import Inputs, OneArray, Scale, Tabular
from pipeline.candidates.torch_model import TorchModel


class Embedded(nn.Module):
    """Indices of categories and numbers, shape (n, categories + numbers), to embeddings and numbers side by side."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Index 0 of an embedding is the unseen category."""
        indices = x[:, : len(self.embeddings)].long() + 1
        embedded = [table(indices[:, i]) for i, table in enumerate(self.embeddings)]
        return torch.cat([*embedded, x[:, len(self.embeddings) :]], dim=1)


def mlp(
    spec: ProblemSpec,
    X: Columns,
    y: np.ndarray,
    hidden: Sequence[int] = (64, 32),
    embedding: int = 4,
    dropout: float = 0.0,
    **training: Any,
) -> TorchModel:
    """Layers of `hidden` sizes with ReLU; `embedding` numbers a category."""
    array = checks.single_array(spec)
    checks.enough(spec, X, y)
    torch_model.seed()
    inputs, first, wide = _array(array, X) if array else _tabular(spec, X, embedding)
    layers = [first]
    for size in hidden:
        layers += [nn.Linear(wide, size), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        wide = size
    return torch_model.fit(spec, inputs, X, y, nn.Sequential(*layers), wide, **training)


def _array(name: str, X: Columns) -> tuple[Inputs, nn.Module, int]:
    """The inputs, the first layer, and how many numbers it gives."""
    array = OneArray.of(name, X)
    return array, Scale(array), array.width


def _tabular(spec: ProblemSpec, X: Columns, embedding: int) -> tuple[Inputs, nn.Module, int]:
    table = Tabular.of(spec, X)
    return table, Embedded(table.sizes, embedding), len(table.sizes) * embedding + table.numbers
