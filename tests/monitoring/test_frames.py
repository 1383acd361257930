"""The live window as a frame."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from core.scored import watched
from monitoring import frames
from problems import Problem
from tests.monitoring.conftest import AS_OF, TRIVIAL, answer, toy

DAY = AS_OF - timedelta(days=1)
INPUTS = {"wind": 1.0, "gust": float("nan"), "carrier": "AA"}
JUDGED = ["prediction", "residual", "loss", "baseline_loss", "label", "day", "_cluster"]


def live(event: str, outcome: float | None, predicted: Any = 0.2, **kwargs: Any) -> dict[str, Any]:
    return {**answer(event, DAY, kwargs.pop("inputs", INPUTS), predicted, **kwargs), "outcome": outcome}


def current(rows: list[dict[str, Any]], task: str = "binary", **changes: Any) -> pd.DataFrame:
    return frames.current(toy(task, **changes), rows, "3", TRIVIAL[task])


def test_of_several_predictions_of_one_event_the_latest_counts() -> None:
    rows = [live("a", 1.0, 0.9, served_at=5.0), live("a", 1.0, 0.1, served_at=3.0), live("b", None)]
    frame = current(rows)
    assert frame["prediction"].tolist() == [0.9, 0.2]
    np.testing.assert_allclose(frame["residual"], [0.1, np.nan])
    np.testing.assert_allclose(frame["loss"], [-np.log(0.9), np.nan])
    np.testing.assert_allclose(frame["baseline_loss"], [-np.log(0.25), np.nan])
    assert frame["label"].isna().all(), "this problem does not name its classes"


def test_of_several_classes_the_likeliest_is_judged() -> None:
    rows = [live("a", 2.0, [0.1, 0.2, 0.7], task="multiclass"), live("b", 0.0, [0.1, 0.6, 0.3], task="multiclass")]
    frame = current(rows, "multiclass")
    assert frame["prediction"].tolist() == [0.7, 0.6]
    assert frame["label"].tolist() == ["right", "middle"]
    np.testing.assert_allclose(frame["residual"], [0.3, -0.6])
    np.testing.assert_allclose(frame["loss"], -np.log([0.7, 0.1]))
    np.testing.assert_allclose(frame["baseline_loss"], -np.log([0.3, 0.3]))


def test_a_number_is_judged_in_standard_deviations_and_its_loss_in_its_own_unit() -> None:
    frame = current([live("a", 13.0, 11.0), live("b", None, -2.0)], "regression")
    assert frame["prediction"].tolist() == [11.0, -2.0]
    np.testing.assert_allclose(frame["residual"], [0.5, np.nan])
    np.testing.assert_allclose(frame["loss"], [2.0, np.nan])
    np.testing.assert_allclose(frame["baseline_loss"], [3.0, np.nan])


def test_other_versions_answers_are_not_the_champions() -> None:
    rows = [live("a", 1.0), live("a", 1.0, version="4", served_at=9.0), live("b", 1.0, version="4")]
    assert current(rows)["prediction"].tolist() == [0.2]


def test_an_empty_window_has_all_columns_whatever_the_task() -> None:
    for task in TRIVIAL:
        frame = current([], task)
        assert list(frame) == ["wind", "gust", "carrier", *JUDGED]
        assert frame.empty


def test_statistics_and_the_embedding_are_watched_arrays_are_not() -> None:
    columns = toy().columns | {"pixels": {"type": "array", "shape": [2, 2], "description": "?"}}
    features = {"pixels": {"kind": "array", "size": 4}, "wind": {"kind": "number"}}
    spec = {"columns": columns, "features": features, "monitor": {"statistics": ["ink"]}}
    inputs = {"wind": 1.0, "ink": 0.3} | {f"embedding_{i}": float(i) for i in range(11)}
    frame = current([live("a", 1.0, inputs=inputs)], **spec)
    assert list(frame) == ["wind", "ink", *(f"embedding_{i}" for i in range(11)), *JUDGED]
    assert frame["embedding_10"].tolist() == [10.0]


def test_the_cluster_of_a_row_is_the_problems_or_its_day() -> None:
    rows = [live("a", 1.0) | {"inputs": {"who": "w"}}, live("b", 1.0) | {"inputs": {"who": "v"}}]
    assert current(rows)["_cluster"].tolist() == [str(DAY)] * 2
    assert current(rows, cluster="who")["_cluster"].tolist() == ["w", "v"]


def test_missing_markers_of_both_kinds_count_as_missing(problem: Problem) -> None:
    kinds = watched(problem.spec, [])
    frame = pd.DataFrame({"wind": [1, np.inf], "gust": [None, 2.0], "carrier": ["__NA__", "AA"], "prediction": 0.5})
    typed = frames.typed(frame, kinds)
    assert frames.null_shares(typed, kinds) == {"wind": 0.5, "gust": 0.5, "carrier": 0.5}
    assert typed["residual"].isna().all()
