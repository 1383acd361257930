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
SPLIT, SLOW_SIZE = 0.24, 700
Prediction = float | Sequence[float]


def trigger(spec: ProblemSpec) -> str:
    """The request's number that makes a faulty model fail when it is above FAULT_ABOVE."""
    return next(name for name, column in spec.columns.items() if column.type == "number" and name in spec.features)


def bundle(
    spec: ProblemSpec,
    folder: Path,
    prediction: Prediction = 0.25,
    fault: str = "",
    embedding: bool = False,
    background: bool = True,
) -> Path:
    """Write a bundle; `prediction` is a probability, one of each class, or a value. `fault` is "", or

    - "raise" or "nan": fails on rows above the limit
    - "slow": takes some ten milliseconds, however many rows it gets
    - "split": moves by SPLIT, up above the limit and down below it
    """
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
        background=_typical(spec) if background else None,
    )
    graph = _graph(spec, prediction, fault, embedding).SerializeToString()
    write_bundle(folder, graph, contract, of(spec), _example(spec))
    return folder


def _typical(spec: ProblemSpec) -> dict[str, float | str | None] | None:
    if any(feature.kind == "array" for feature in spec.features.values()):
        return None
    return {name: 1.0 if feature.kind == "number" else "a" for name, feature in spec.features.items()}


def _example(spec: ProblemSpec) -> Columns:
    makes = {"number": lambda _: np.array([1.0, 2.0]), "category": lambda _: np.array(["a", "b"])}
    makes["array"] = lambda size: np.ones((2, size), np.float32)
    return {name: makes[feature.kind](feature.size) for name, feature in spec.features.items()}


def _graph(spec: ProblemSpec, prediction: Prediction, fault: str, embedding: bool) -> onnx.ModelProto:
    row = [1 - prediction, prediction] if spec.task == "binary" else np.atleast_1d(prediction)
    types = {"number": TensorProto.FLOAT, "category": TensorProto.STRING, "array": TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(n, types[f.kind], [None, f.size]) for n, f in spec.features.items()]
    outputs = [helper.make_tensor_value_info(of(spec).output, TensorProto.FLOAT, [None, len(row)])]
    floats = {"row": row, "limit": [FAULT_ABOVE], "table": [0.0], "half": [0.5], "split": [2 * SPLIT]}
    initializers = [numpy_helper.from_array(np.array(v, np.float32), name) for name, v in floats.items()]
    whole = {"width": [1], "square": [SLOW_SIZE, SLOW_SIZE]}
    initializers += [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in whole.items()]
    nodes = [*_fault(spec, fault), helper.make_node("Add", ["fault", "row"], [of(spec).output])]
    if embedding:
        array = next(name for name, feature in spec.features.items() if feature.kind == "array")
        nodes.append(helper.make_node("ReduceMean", [array], ["embedding"], axes=[1], keepdims=1))
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [None, 1]))
    graph = helper.make_graph(nodes, "constant", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _fault(spec: ProblemSpec, fault: str) -> list[onnx.NodeProto]:
    """Nodes that make `fault`, (n, 1): zeros; above the limit NaN (a root of -1) or an index out of range."""
    if fault in ("", "slow"):
        zeros = [
            helper.make_node("Shape", [next(iter(spec.features))], ["rows"], start=0, end=1),
            helper.make_node("Concat", ["rows", "width"], ["shape"], axis=0),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros" if fault else "fault"]),
        ]
        return zeros + (_slowly() if fault else [])
    above = helper.make_node("Greater", [trigger(spec), "limit"], ["above"])
    if fault == "raise":
        return [
            above,
            helper.make_node("Cast", ["above"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["fault"]),
        ]
    number = helper.make_node("Cast", ["above"], ["number"], to=TensorProto.FLOAT)
    if fault == "split":
        return [
            above,
            number,
            helper.make_node("Sub", ["number", "half"], ["side"]),
            helper.make_node("Mul", ["side", "split"], ["fault"]),
        ]
    return [
        above,
        number,
        helper.make_node("Sub", ["table", "number"], ["minus"]),
        helper.make_node("Sqrt", ["minus"], ["fault"]),
    ]


def _slowly() -> list[onnx.NodeProto]:
    """From `zeros` to `fault`, by the product of two large matrices of zeros, which cannot be folded beforehand."""
    return [
        helper.make_node("Cast", ["rows"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["count", "table"], ["nothing"]),
        helper.make_node("Expand", ["nothing", "square"], ["matrix"]),
        helper.make_node("MatMul", ["matrix", "matrix"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["number"], keepdims=0),
        helper.make_node("Add", ["zeros", "number"], ["fault"]),
    ]
