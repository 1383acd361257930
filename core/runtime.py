"""The one model runtime: an ONNX graph with its contract. Training checks itself with it, serving answers with it.

A graph takes one tensor a feature and gives `probabilities`, shape (n, classes), or `value`, shape (n, 1); and, when
its contract says so, `embedding`: a few numbers a row of what the model itself sees, which the monitor watches.
No pickles, no scikit-learn, no torch. A bundle is a folder: model.onnx, contract.json, example.json.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from core.columns import Columns
from core.config import Frozen
from core.errors import ModelRefused
from core.schema import Kind, ProblemSpec
from core.task import Task, of

MODEL, CONTRACT, EXAMPLE = "model.onnx", "contract.json", "example.json"
SERVING_FILES = (MODEL, CONTRACT, EXAMPLE)
SELF_TEST_TOLERANCE = 1e-5  # of a prediction, relative to the largest one when that is above 1
EMBEDDING = "embedding"


class Contract(Frozen):
    """What a caller of the graph must know. Inputs are one tensor a feature, shape (n, 1), float32 or string; of an
    array (n, size)."""

    problem: str
    task: str
    target: str
    classes: list[str] = Field(default_factory=list)
    features: dict[str, Kind]
    categories: dict[str, list[str]]
    embedding: int = 0  # width of the graph's second output; 0: it has none
    background: dict[str, float | str | None] | None = None  # the training rows' typical row, where there is no array


class Example(Frozen):
    """A few rows of inputs and the predictions that the graph gave for them when it was made."""

    inputs: dict[str, list[Any]]
    predictions: list[Any]


NO_EXAMPLE = Example(inputs={}, predictions=[])


@dataclass(frozen=True)
class OnnxModel:
    """A loaded bundle."""

    session: Any
    contract: Contract
    task: Task
    example: Example = NO_EXAMPLE

    @classmethod
    def load(cls, folder: Path, spec: ProblemSpec) -> "OnnxModel":
        """Load a bundle and run its self-test; raise ModelRefused when it does not give what it gave when made."""
        contract = Contract.model_validate_json((folder / CONTRACT).read_text())
        if (contract.task, contract.classes) != (spec.task, spec.classes):
            raise ModelRefused(f"it was made for {contract.task} {contract.classes}, the problem is {spec.task} now")
        example = Example.model_validate_json((folder / EXAMPLE).read_text())
        model = cls(open_session((folder / MODEL).read_bytes()), contract, of(spec), example)
        model.self_test()
        return model

    def predict(self, inputs: Columns) -> np.ndarray:
        """Features by name, shape (n,) each (an array's (n, size)), to predictions as core.task describes, float32."""
        raw: np.ndarray = self.session.run([self.task.output], self._feeds(inputs))[0]
        return self.task.arrange(raw)

    def predict_and_embed(self, inputs: Columns) -> tuple[np.ndarray, Columns]:
        """Predictions, and the embedding as columns embedding_0 …, shape (n,) each; none when the graph has none."""
        if not self.contract.embedding:
            return self.predict(inputs), {}
        raw, embedding = self.session.run([self.task.output, EMBEDDING], self._feeds(inputs))
        return self.task.arrange(raw), {f"{EMBEDDING}_{i}": embedding[:, i] for i in range(self.contract.embedding)}

    def self_test(self) -> None:
        expected = np.array(self.example.predictions, np.float64)
        got = self.predict({name: np.array(values) for name, values in self.example.inputs.items()})
        off = float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))
        if not off <= SELF_TEST_TOLERANCE:  # a NaN fails too
            raise ModelRefused(f"self-test: predictions differ from the recorded ones by {off:.2g}")

    def _feeds(self, inputs: Columns) -> dict[str, np.ndarray]:
        return {name: _tensor(inputs[name], kind) for name, kind in self.contract.features.items()}


def open_session(graph: bytes) -> Any:
    """An onnxruntime session on one CPU thread: a row takes microseconds, and threads only fight over small ones.

    A graph may name a file of this machine as its weights, which would then be read, relative to where the process
    runs: its secrets, too. So the folder for such files is one that can hold none.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def digest(folder: Path) -> str:
    """SHA-256 over the serving files of a bundle: what the registry records and the server verifies."""
    whole = hashlib.sha256()
    for name in SERVING_FILES:
        with (folder / name).open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def write_bundle(folder: Path, graph: bytes, contract: Contract, task: Task, example_inputs: Columns) -> None:
    """Write the serving files. The example's predictions are what this graph gives now."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL).write_bytes(graph)
    (folder / CONTRACT).write_text(contract.model_dump_json(indent=1))
    model = OnnxModel(open_session(graph), contract, task)
    as_json = {name: _plain(values) for name, values in example_inputs.items()}
    predictions = model.predict({name: np.array(values) for name, values in as_json.items()})
    (folder / EXAMPLE).write_text(json.dumps({"inputs": as_json, "predictions": predictions.tolist()}))


def _tensor(values: np.ndarray, kind: Kind) -> np.ndarray:
    if kind != "category":
        return values.astype(np.float32, copy=False).reshape(len(values), -1)
    return (values if values.dtype.kind == "U" else values.astype(object)).reshape(len(values), -1)


def _plain(values: np.ndarray) -> list[Any]:
    """JSON has no NaN: a missing number is written as null, which numpy reads back as NaN."""
    return [None if isinstance(v, float) and np.isnan(v) else v for v in values.tolist()]
