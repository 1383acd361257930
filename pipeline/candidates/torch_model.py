"""What the torch candidates share: the training loop, seeds, the device, and the graph on the way out.

A candidate gives a body that turns the input tensor into a few numbers a row; this module adds the task's head.
Trained on a GPU when there is one; on the CPU, with one thread, the same seed gives the same bits.
"""

import io
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from core.columns import Columns
from core.runtime import EMBEDDING
from core.schema import ProblemSpec
from core.task import of
from pipeline.candidates import SEED, checks, export
from pipeline.candidates.torch_inputs import Inputs, OneArray

COMPONENTS = 8  # width of the embedding, at most
PREDICT_ROWS = 4096
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
log = logging.getLogger(__name__)


class Network(nn.Module):
    """A body, input (n, width) to (n, size), and a linear head: (n, 1) logits or standardised values, or (n, k)."""

    def __init__(self, body: nn.Module, size: int, outputs: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(size, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x))
        return out


class Answer(nn.Module):
    """The network as the runtime wants it: probabilities (n, k) or the value in its unit, and an embedding or none."""

    def __init__(self, network: Network, spec: ProblemSpec, standard: export.Standard, project: nn.Linear | None):
        super().__init__()
        self.network, self.task, self.standard, self.project = network, spec.task, standard, project

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        seen = self.network.body(x)
        answer = self._answer(self.network.head(seen))
        return (answer,) if self.project is None else (answer, self.project(seen))

    def _answer(self, raw: torch.Tensor) -> torch.Tensor:
        if self.task == "regression":
            return raw * self.standard.std + self.standard.mean
        if self.task == "multiclass":
            return torch.softmax(raw, dim=1)
        positive = torch.sigmoid(raw)
        return torch.cat([1 - positive, positive], dim=1)


@dataclass(frozen=True)
class TorchModel:
    """A trained network, on the CPU."""

    spec: ProblemSpec
    inputs: Inputs
    answer: Answer
    device: str

    @property
    def embedding(self) -> int:
        return 0 if self.answer.project is None else self.answer.project.out_features

    def predict(self, X: Columns) -> np.ndarray:
        with torch.no_grad():
            parts = [self.answer(part)[0].numpy() for part in self.inputs.tensor(X).split(PREDICT_ROWS)]  # type: ignore[no-untyped-call]
        return of(self.spec).arrange(np.concatenate(parts))

    def to_onnx(self) -> bytes:
        outputs = [of(self.spec).output, *([EMBEDDING] if self.embedding else [])]
        return export.serialized(self.inputs.joined(_exported(self.answer, self.inputs, outputs)))


def seed() -> None:
    """Before a body is made: its weights are drawn from here on."""
    torch.manual_seed(SEED)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def fit(
    spec: ProblemSpec,
    inputs: Inputs,
    X: Columns,
    y: np.ndarray,
    body: nn.Module,
    size: int,
    epochs: int = 3,
    batch: int = 512,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.1,
) -> TorchModel:
    """Train `body` (to `size` numbers a row) and the task's head with AdamW."""
    checks.enough(spec, X, y)
    standard = export.Standard.of(y)
    network = Network(body, size, len(spec.classes) if spec.task == "multiclass" else 1)
    device, name = _device()
    network.to(device)
    log.info("training on %s", name)
    rows = inputs.tensor(X)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    data = rows.to(device), _targets(spec, standard, y).to(device)
    for epoch in range(epochs):
        loss = _epoch(network, optimiser, _loss(spec), *data, batch)
        log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, loss)
    network.eval().to("cpu")
    project = _components(network, rows) if isinstance(inputs, OneArray) else None
    return TorchModel(spec, inputs, Answer(network, spec, standard, project).eval(), name)


def _epoch(
    network: Network, optimiser: Any, loss: Loss, rows: torch.Tensor, targets: torch.Tensor, batch: int
) -> float:
    """One pass in random order; returns the mean loss."""
    total = 0.0
    for some in torch.randperm(len(rows)).split(batch):  # type: ignore[no-untyped-call]
        chosen = some.to(rows.device)
        optimiser.zero_grad()
        found = loss(network(rows[chosen]), targets[chosen])
        found.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += found.item() * len(chosen)
    return total / len(rows)


def _loss(spec: ProblemSpec) -> Loss:
    """(head's output, target) to the mean over rows."""
    if spec.task == "multiclass":
        return functional.cross_entropy
    if spec.task == "binary":
        return functional.binary_cross_entropy_with_logits
    quantile = spec.gate.quantile or 0.5
    losses: dict[str, Loss] = {
        "absolute_error": functional.l1_loss,
        "squared_error": functional.mse_loss,
        "quantile": lambda out, y: torch.maximum(quantile * (y - out), (quantile - 1) * (y - out)).mean(),
    }
    return losses[checks.loss(spec)]


def _targets(spec: ProblemSpec, standard: export.Standard, y: np.ndarray) -> torch.Tensor:
    if spec.task == "multiclass":
        return torch.from_numpy(y.astype(np.int64))
    values = standard.scaled(y) if spec.task == "regression" else y
    return torch.from_numpy(values.astype(np.float32)).reshape(-1, 1)


def _device() -> tuple[torch.device, str]:
    if torch.cuda.is_available():
        return torch.device("cuda"), torch.cuda.get_device_name()
    return torch.device("cpu"), "cpu"


def _components(network: Network, rows: torch.Tensor) -> nn.Linear:
    """The principal components of what the head sees of the training rows, as the layer that projects on them."""
    with torch.no_grad():
        seen = torch.cat([network.body(part) for part in rows.split(PREDICT_ROWS)]).double().numpy()  # type: ignore[no-untyped-call]
    mean = seen.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(seen - mean, rowvar=False))
    top = vectors[:, ::-1][:, :COMPONENTS].T
    top = top * np.sign(top[np.arange(len(top)), np.abs(top).argmax(axis=1)])[:, None]  # the sign is free otherwise
    layer = nn.Linear(top.shape[1], len(top))
    layer.weight.data, layer.bias.data = torch.from_numpy(top).float(), torch.from_numpy(-top @ mean).float()
    return layer


def _exported(answer: Answer, inputs: Inputs, outputs: list[str]) -> onnx.ModelProto:
    """By torch's tracing exporter: the newer one takes 8 s and another package for the same graph."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            answer,
            (torch.zeros(2, inputs.width),),
            file,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=export.OPSET,
            input_names=[inputs.name],
            output_names=outputs,
            dynamic_axes={name: {0: "n"} for name in (inputs.name, *outputs)},
        )
    return onnx.load_from_string(file.getvalue())
