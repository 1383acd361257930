"""A small convolutional network in torch, for one image a row."""

from typing import Any

import numpy as np
import torch
from torch import nn

from core.columns import Columns
from core.errors import ModelRefused
from core.schema import ProblemSpec
from pipeline.candidates import checks, torch_model
from pipeline.candidates.torch_inputs import OneArray, Scale
from pipeline.candidates.torch_model import TorchModel

SMALLEST = 4  # pixels a side: two blocks halve it twice


class Image(nn.Module):
    """A flat image, shape (n, height * width), to (n, 1, height, width)."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 1, self.height, self.width)


def cnn(
    spec: ProblemSpec,
    X: Columns,
    y: np.ndarray,
    channels: int = 16,
    hidden: int = 64,
    dropout: float = 0.3,
    **training: Any,
) -> TorchModel:
    """Two blocks of convolution, ReLU and pooling, with `channels` and twice as many; then one layer of `hidden`."""
    name, height, width = checks.image(spec)
    if min(height, width) < SMALLEST:
        raise ModelRefused(f"it takes images of {SMALLEST} x {SMALLEST} pixels or more; {name} has {height} x {width}")
    checks.enough(spec, X, y)
    torch_model.seed()
    inputs = OneArray.of(name, X)
    flat = 2 * channels * (height // 4) * (width // 4)
    body = nn.Sequential(
        *(Scale(inputs), Image(height, width)),
        *_block(1, channels),
        *_block(channels, 2 * channels),
        *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(dropout)),
    )
    return torch_model.fit(spec, inputs, X, y, body, hidden, **training)


def _block(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
