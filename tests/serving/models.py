"""Tiny ONNX bundles for the server's tests: the same probability for every row, and faults on demand."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.runtime import Contract, write_bundle
from core.schema import ProblemSpec

FAULT_ABOVE = 5000.0  # of the first number column that is a feature, too


def trigger(spec: ProblemSpec) -> str:
    """The request's number that makes a faulty model fail when it is above FAULT_ABOVE."""
    return next(name for name, column in spec.columns.items() if column.type == "number" and name in spec.features)


def bundle(spec: ProblemSpec, folder: Path, probability: float = 0.25, fault: str = "") -> Path:
    """Write a bundle; `fault` is "", "raise" or "nan"."""
    kinds = {name: feature.kind for name, feature in spec.features.items()}
    categories = {name: [str(spec.columns[name].example)] for name, kind in kinds.items() if kind == "category"}
    contract = Contract(problem=spec.name, task=spec.task, target=spec.target, features=kinds, categories=categories)
    example = {n: np.array(["a", "b"]) if k == "category" else np.array([1.0, 2.0]) for n, k in kinds.items()}
    write_bundle(folder, _graph(spec, probability, fault).SerializeToString(), contract, example)
    return folder


def _graph(spec: ProblemSpec, probability: float, fault: str) -> onnx.ModelProto:
    types = {"number": TensorProto.FLOAT, "category": TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(n, types[f.kind], [None, 1]) for n, f in spec.features.items()]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    constants = {"one": [1.0], "p": [probability], "limit": [FAULT_ABOVE], "table": [0.0]}
    initializers = [numpy_helper.from_array(np.array(v, np.float32), name) for name, v in constants.items()]
    last = helper.make_tensor("v", TensorProto.FLOAT, [1], [probability])
    nodes = [
        helper.make_node("Shape", [trigger(spec)], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["flat"], value=last),
        *_fault(spec, fault),
        helper.make_node("Add", ["flat", "fault"], ["positive"]),
        helper.make_node("Sub", ["one", "positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(nodes, "constant", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _fault(spec: ProblemSpec, fault: str) -> list[onnx.NodeProto]:
    """Nodes that make `fault`: zeros, but above the limit NaN (log of a negative number) or an index out of range."""
    above = helper.make_node("Greater", [trigger(spec), "limit"], ["above"])
    if fault == "raise":
        return [
            above,
            helper.make_node("Cast", ["above"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["fault"]),
        ]
    if fault == "nan":
        return [
            above,
            helper.make_node("Cast", ["above"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["table", "number"], ["minus"]),
            helper.make_node("Sqrt", ["minus"], ["fault"]),
        ]
    zero = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.0])
    return [helper.make_node("ConstantOfShape", ["shape"], ["fault"], value=zero)]
