"""What all candidates share on the way out: the graph's inputs, its last nodes, and the same bytes for the same graph.

A regression is fitted to the standardised target; the way back to its unit is the end of the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from core.schema import ProblemSpec

OPSET = 17
RAW = "raw"


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of a target: value = standardised * std + mean."""

    mean: float
    std: float

    @classmethod
    def of(cls, y: np.ndarray) -> "Standard":
        return cls(float(y.mean()), float(y.std()) or 1.0)

    def scaled(self, y: np.ndarray) -> np.ndarray:
        out: np.ndarray = (y - self.mean) / self.std
        return out

    def back(self, scaled: np.ndarray) -> np.ndarray:
        out: np.ndarray = scaled * self.std + self.mean
        return out


def input_types(spec: ProblemSpec) -> list[tuple[str, Any]]:
    """One input a feature, shape (n, 1), an array's (n, size): the signature of every graph that we register."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = {"number": FloatTensorType, "category": StringTensorType, "array": FloatTensorType}
    return [(name, kinds[feature.kind]([None, feature.size])) for name, feature in spec.features.items()]


def in_unit(graph: ModelProto, output: str, standard: Standard) -> ModelProto:
    """A graph of standardised values to one that gives `value`, shape (n, 1), in the target's unit."""
    nodes = [helper.make_node("Mul", [RAW, "std"], ["scaled"]), helper.make_node("Add", ["scaled", "mean"], ["value"])]
    constants = {"std": np.array([[standard.std]]), "mean": np.array([[standard.mean]])}
    return _with_tail(graph, output, nodes, constants, ("value", 1))


def spread(graph: ModelProto, present: Sequence[int], classes: int) -> ModelProto:
    """Probabilities of the classes that were `present` in training to those of all; the others' are 0."""
    places = np.zeros((len(present), classes))
    places[np.arange(len(present)), present] = 1
    nodes = [helper.make_node("MatMul", [RAW, "places"], ["probabilities"])]
    return _with_tail(graph, "probabilities", nodes, {"places": places}, ("probabilities", classes))


def serialized(graph: ModelProto) -> bytes:
    """The same bytes for the same graph: skl2onnx lists operator sets in the order of a Python set."""
    opsets = sorted(graph.opset_import, key=lambda opset: str(opset.domain))
    del graph.opset_import[:]
    graph.opset_import.extend(opsets)
    return bytes(graph.SerializeToString(deterministic=True))


def _with_tail(
    model: ModelProto,
    source: str,
    nodes: Sequence[NodeProto],
    constants: dict[str, np.ndarray],
    output: tuple[str, int],
) -> ModelProto:
    """Rename tensor `source` to RAW, append nodes that read it, and make `output` (name, width) the only output."""
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [RAW if name == source else name for name in names]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output[0], TensorProto.FLOAT, [None, output[1]]))
    return model
