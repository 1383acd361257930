"""A small transformer over feature tokens in torch (FT-Transformer: Gorishniy et al., 2021), for tables.

Each feature becomes one token; attention mixes them; a token of its own, the first, collects what the head reads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from core.columns import Columns
from core.schema import ProblemSpec
from pipeline.candidates import checks, torch_model
from pipeline.candidates.torch_inputs import Tabular
from pipeline.candidates.torch_model import TorchModel


class Tokens(nn.Module):
    """Indices of categories and numbers, shape (n, features), to tokens, shape (n, 1 + features, width)."""

    def __init__(self, sizes: Sequence[int], numbers: int, width: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)
        self.weight = nn.Parameter(torch.randn(1 + numbers, width) / width**0.5)
        self.bias = nn.Parameter(torch.randn(1 + numbers, width) / width**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        indices = x[:, : len(self.embeddings)].long() + 1  # 0 is the unseen category
        categories = [table(indices[:, i]) for i, table in enumerate(self.embeddings)]
        numbers = torch.cat([torch.ones_like(x[:, :1]), x[:, len(self.embeddings) :]], dim=1)
        tokens = numbers.unsqueeze(2) * self.weight + self.bias
        return torch.cat([tokens, *(category.unsqueeze(1) for category in categories)], dim=1)


class Block(nn.Module):
    """Attention between a row's tokens, then a layer on each; both normalised before and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.before_mixing, self.before_layer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layer = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self._mix(self.before_mixing(x))
        out: torch.Tensor = x + self.layer(self.before_layer(x))
        return out

    def _mix(self, x: torch.Tensor) -> torch.Tensor:
        tokens, size = x.shape[1], self.width // self.heads
        parts = self.query_key_value(x).reshape(-1, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        attention = torch.softmax(parts[0] @ parts[1].transpose(-2, -1) / size**0.5, dim=-1)
        mixed = (attention @ parts[2]).transpose(1, 2).reshape(-1, tokens, self.width)
        out: torch.Tensor = self.mixed(mixed)
        return out


class First(nn.Module):
    """The token that collects, normalised, shape (n, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(x[:, 0])
        return out


def transformer(
    spec: ProblemSpec, X: Columns, y: np.ndarray, width: int = 16, heads: int = 2, blocks: int = 2, **training: Any
) -> TorchModel:
    """`blocks` of attention with `heads`, on tokens of `width` numbers, a multiple of `heads`."""
    checks.tabular(spec)
    checks.enough(spec, X, y)
    torch_model.seed()
    inputs = Tabular.of(spec, X)
    tokens = Tokens(inputs.sizes, inputs.numbers, width)
    body = nn.Sequential(tokens, *(Block(width, heads) for _ in range(blocks)), First(width))
    return torch_model.fit(spec, inputs, X, y, body, width, **training)
