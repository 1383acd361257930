"""Tiny ONNX bundles of any task for the server's tests: the same prediction for every row, and faults on demand.

With `embedding`, the graph also gives the mean of each row's array.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.columns import Columns
from core.runtime import Contract, write_bundle
from core.schema import ProblemSpec
from core.task import of

FAULT_ABOVE = 5000.0  # of the first number column that is a feature, too
Prediction = float | Sequence[float]


def trigger(spec: ProblemSpec) -> str:
    """The request's number that makes a faulty model fail when it is above FAULT_ABOVE."""
    return next(name for name, column in spec.columns.items() if column.type == "number" and name in spec.features)


def bundle(
    spec: ProblemSpec, folder: Path, prediction: Prediction = 0.25, fault: str = "", embedding: bool = False
) -> Path:
    """Write a bundle; `fault` is "", "raise" or "nan"; `prediction` a probability, one of each class, or a value."""
    kinds = {name: feature.kind for name, feature in spec.features.items()}
    contract = Contract(
        problem=spec.name,
        task=spec.task,
        target=spec.target,
        classes=spec.classes,
        features=kinds,
        categories={
            n: [str(spec.columns[n].example)] for n, k in kinds.items() if k == "category" and n in spec.columns
        },
        embedding=int(embedding),
    )
    graph = _graph(spec, prediction, fault, embedding).SerializeToString()
    write_bundle(folder, graph, contract, of(spec), _example(spec))
    return folder


def _example(spec: ProblemSpec) -> Columns:
    makes = {"number": lambda _: np.array([1.0, 2.0]), "category": lambda _: np.array(["a", "b"])}
    makes["array"] = lambda size: np.ones((2, size), np.float32)
    return {name: makes[feature.kind](feature.size) for name, feature in spec.features.items()}


def _graph(spec: ProblemSpec, prediction: Prediction, fault: str, embedding: bool) -> onnx.ModelProto:
    row = [1 - prediction, prediction] if spec.task == "binary" else np.atleast_1d(prediction)
    types = {"number": TensorProto.FLOAT, "category": TensorProto.STRING, "array": TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(n, types[f.kind], [None, f.size]) for n, f in spec.features.items()]
    outputs = [helper.make_tensor_value_info(of(spec).output, TensorProto.FLOAT, [None, len(row)])]
    floats = {"row": row, "limit": [FAULT_ABOVE], "table": [0.0]}
    initializers = [numpy_helper.from_array(np.array(v, np.float32), name) for name, v in floats.items()]
    initializers.append(numpy_helper.from_array(np.array([1], np.int64), "width"))
    nodes = [*_fault(spec, fault), helper.make_node("Add", ["fault", "row"], [of(spec).output])]
    if embedding:
        array = next(name for name, feature in spec.features.items() if feature.kind == "array")
        nodes.append(helper.make_node("ReduceMean", [array], ["embedding"], axes=[1], keepdims=1))
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [None, 1]))
    graph = helper.make_graph(nodes, "constant", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _fault(spec: ProblemSpec, fault: str) -> list[onnx.NodeProto]:
    """Nodes that make `fault`, (n, 1): zeros; above the limit NaN (a root of -1) or an index out of range."""
    if not fault:
        return [
            helper.make_node("Shape", [next(iter(spec.features))], ["rows"], start=0, end=1),
            helper.make_node("Concat", ["rows", "width"], ["shape"], axis=0),
            helper.make_node("ConstantOfShape", ["shape"], ["fault"]),
        ]
    above = helper.make_node("Greater", [trigger(spec), "limit"], ["above"])
    if fault == "raise":
        return [
            above,
            helper.make_node("Cast", ["above"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["fault"]),
        ]
    return [
        above,
        helper.make_node("Cast", ["above"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["table", "number"], ["minus"]),
        helper.make_node("Sqrt", ["minus"], ["fault"]),
    ]
