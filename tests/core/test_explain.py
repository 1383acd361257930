"""What moved a prediction: contributions over an ONNX graph, exact where the model says what they must be."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.columns import Columns
from core.errors import ModelRefused
from core.explain import explain, quick
from core.runtime import Contract, OnnxModel, open_session
from core.task import Regression

WEIGHTS = {f"x{i}": weight for i, weight in enumerate((2.0, -3.0, 0.5, 0.0, 8.0, -0.25, 1.0, 4.0, -1.0, 16.0))}
TYPICAL = {name: float(i) for i, name in enumerate(WEIGHTS)}


def linear(background: dict[str, Any] | None, tail: Sequence[str] = ()) -> OnnxModel:
    """value = the sum of weight * x, through the operators of `tail`; halves and quarters are exact in float32."""
    floats = [[None, 1]] * len(WEIGHTS)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(WEIGHTS, floats, strict=True)]
    names = ["raw", *(f"t{i}" for i in range(len(tail) - 1)), "value"] if tail else ["value"]
    nodes = [
        helper.make_node("Concat", list(WEIGHTS), ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], [names[0]]),
        *(helper.make_node(name, [a], [b]) for name, a, b in zip(tail, names, names[1:], strict=False)),
    ]
    weights = numpy_helper.from_array(np.array([*WEIGHTS.values()], np.float32).reshape(-1, 1), "weights")
    out = [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "linear", inputs, out, [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    kinds = dict.fromkeys(WEIGHTS, "number")
    contract = Contract(
        problem="p", task="regression", target="t", features=kinds, categories={}, background=background
    )
    return OnnxModel(open_session(made.SerializeToString()), contract, Regression())


def row(**change: float) -> Columns:
    """Every number 3 above the typical one, but for those that are given."""
    values = {name: typical + 3 for name, typical in TYPICAL.items()} | change
    return {name: np.array([value], np.float32) for name, value in values.items()}


def test_a_linear_model_is_explained_by_weight_times_distance_to_the_bit() -> None:
    model = linear(TYPICAL)
    found = explain(model, row(), model.predict(row()))
    assert found.contributions == {name: 3 * weight for name, weight in WEIGHTS.items()}
    assert found.baseline == sum(TYPICAL[name] * weight for name, weight in WEIGHTS.items())


def test_what_is_like_the_typical_row_contributes_nothing() -> None:
    found = explain(linear(TYPICAL), row(**TYPICAL | {"x9": 10.0}), np.array([0.0]))
    assert {name for name, share in found.contributions.items() if share} == {"x9"}


def test_missing_is_like_missing() -> None:
    """It is no player: three others are, which takes eight coalitions, not sixteen."""
    model, change = linear(TYPICAL | {"x3": None}), {name: TYPICAL[name] for name in list(WEIGHTS)[4:]}
    seen: list[int] = []
    predicted = model.session.run

    def run(names: list[str], feeds: Columns) -> Any:
        seen.append(len(feeds["x3"]))
        assert np.isnan(feeds["x3"]).all()
        return [np.nan_to_num(predicted(names, feeds)[0])]

    counting = OnnxModel(SimpleNamespace(run=run), model.contract, model.task)
    assert explain(counting, row(x3=np.nan, **change), np.array([0.0])).contributions["x3"] == 0.0
    assert seen == [8]


def test_the_same_row_has_the_same_explanation() -> None:
    model = linear(TYPICAL, ["Tanh", "Exp"])
    one, other = (explain(model, row(x9=8.9), model.predict(row())) for _ in range(2))
    assert one == other


def test_a_model_without_a_typical_row_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelRefused, match="no typical row"):
        explain(linear(None), row(), np.array([0.0]))


def test_a_graph_that_fails_between_the_rows_is_refused() -> None:
    model = linear(TYPICAL, ["Sqrt"])
    assert np.isfinite(model.predict(row())).all()
    with pytest.raises(ModelRefused, match="no finite number between"):
        explain(model, row(x1=100, x9=50), np.array([0.0]))


@pytest.mark.parametrize(("features", "pairs"), [(1, 25), (24, 25), (100, 20), (500, 4), (5000, 1)])
def test_many_features_get_fewer_orders_so_that_an_explanation_stays_quick(features: int, pairs: int) -> None:
    assert quick(features) == pairs
