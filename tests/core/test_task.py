"""What differs between the three kinds of target: shapes, labels, losses, residuals, the trivial baseline."""

import warnings
from typing import Any

import numpy as np
import pytest

from core.schema import ProblemSpec
from core.scored import Trivial, judged
from core.task import of, primary_loss
from tests.toy import spec

TASKS = ["binary", "multiclass", "regression"]
RAW = np.array([[0.8, 0.2, 0.0], [0.1, 0.3, 0.6]], np.float32)  # as from a graph
QUANTILE = {"metric": "pinball", "quantile": 0.9}


def named() -> ProblemSpec:
    """Binary, with names for its classes."""
    return spec().model_copy(update={"classes": ["no", "yes"]})


def test_the_graph_s_tensor_becomes_a_prediction() -> None:
    assert of(spec()).arrange(RAW[:, :2]).tolist() == pytest.approx([0.2, 0.3])
    assert of(spec(task="multiclass")).arrange(RAW).shape == (2, 3)
    assert of(spec(task="regression")).arrange(RAW[:, :1]).tolist() == pytest.approx([0.8, 0.1])


@pytest.mark.parametrize(
    ("given", "labels", "y"),
    [
        (spec(), [0, 1, True, 2, None], [0, 1, 1, None, None]),
        (named(), ["yes", "no", "maybe", None], [1, 0, None, None]),
        (spec(task="multiclass"), ["late", "on time", "lost", None], [2, 1, None, None]),
        (spec(task="regression"), [1.5, 2, None, float("inf")], [1.5, 2, None, None]),
    ],
)
def test_labels_become_numbers_and_what_cannot_be_one_is_nan(
    given: ProblemSpec, labels: list[Any], y: list[float | None]
) -> None:
    found = of(given).encode(np.array(labels, object))
    np.testing.assert_array_equal(found, np.array(y, np.float64))


def test_a_class_that_is_a_whole_number_is_found_whatever_type_its_column_has() -> None:
    digits = of(spec(task="multiclass").model_copy(update={"classes": ["0", "1", "2"]}))
    for labels in (np.array([2, 0]), np.array([2.0, 0.0]), np.array(["2", "0"])):
        assert digits.encode(labels).tolist() == [2, 0]


def test_the_score_is_one_number_a_row_and_the_label_is_the_likeliest_class() -> None:
    assert of(spec()).score(RAW[:, 1]).tolist() == RAW[:, 1].tolist()
    assert of(spec(task="multiclass")).score(RAW).tolist() == pytest.approx([0.8, 0.6])
    assert of(spec(task="multiclass")).names(RAW) == ["early", "late"]
    assert of(named()).names(np.array([0.49, 0.5])) == ["no", "yes"]
    assert of(spec()).names(np.array([0.49, 0.5])) == [None, None]
    assert of(spec(task="regression")).names(np.array([1.0])) == [None]


def test_the_residual_is_observed_less_expected() -> None:
    known = np.array([1.0, np.nan])
    assert of(spec()).residual(known, np.array([0.2, 0.2]), 1.0)[0] == pytest.approx(0.8)
    assert of(spec(task="multiclass")).residual(np.array([0.0, 1.0]), RAW, 1.0) == pytest.approx([0.2, -0.6])
    assert of(spec(task="regression")).residual(known, np.array([3.0, 3.0]), 4.0)[0] == pytest.approx(-0.5)
    quantile = of(spec(task="regression", gate=QUANTILE))
    assert quantile.residual(np.array([1.0, 9.0]), np.array([3.0, 3.0]), 4.0) == pytest.approx([0.1, -0.9])


@pytest.mark.parametrize("task", TASKS)
def test_the_residual_of_an_unknown_label_is_unknown(task: str) -> None:
    prediction = RAW if task == "multiclass" else RAW[:, 1]
    found = of(spec(task=task)).residual(np.array([1.0, np.nan]), prediction, 1.0)
    assert np.isnan(found).tolist() == [False, True]


def test_the_trivial_baseline_is_the_constant_that_the_primary_metric_likes_best() -> None:
    y = np.array([0.0, 1.0, 1.0, 6.0])
    assert Trivial.of(spec(), np.array([0.0, 0, 1, 0])).constant == 0.25
    assert Trivial.of(spec(task="multiclass"), np.array([0.0, 2, 2, 2])).constant == [0.25, 0, 0.75]
    assert Trivial.of(spec(task="regression"), y).constant == 1  # of the absolute error: the median
    assert Trivial.of(spec(task="regression", gate={"metric": "rmse"}), y).constant == 2
    assert Trivial.of(spec(task="regression", gate=QUANTILE), y).constant == pytest.approx(4.5)


def test_residuals_of_numbers_are_in_standard_deviations_and_a_constant_target_has_a_unit_too() -> None:
    assert Trivial.of(spec(), np.array([0.0, 1.0])).scale == 1
    assert Trivial.of(spec(task="regression"), np.array([-3.0, 3.0])).scale == 3
    assert Trivial.of(spec(task="regression"), np.array([7.0, 7.0])).scale == 1


@pytest.mark.parametrize(
    ("task", "metric", "loss"),
    [
        ("binary", "brier", "brier"),
        ("binary", "roc_auc", "log_loss"),
        ("multiclass", "macro_f1", "log_loss"),
        ("regression", "mae", "mae"),
        ("regression", "r2", "mse"),
        ("regression", "rmse", "mse"),
    ],
)
def test_a_metric_that_is_no_mean_over_rows_is_stood_for_by_the_loss_next_to_it(
    task: str, metric: str, loss: str
) -> None:
    assert primary_loss(spec(task=task, gate={"metric": metric})) == loss
    assert primary_loss(spec(task="regression", gate=QUANTILE)) == "pinball"


@pytest.mark.parametrize("task", TASKS)
def test_rows_without_a_label_are_scored_and_not_judged(task: str) -> None:
    given, y = spec(task=task), np.array([1.0, np.nan])
    prediction = RAW if task == "multiclass" else RAW[:, 1]
    trivial = Trivial.of(given, np.array([0.0, 1.0, 2.0]) if task != "binary" else np.array([0.0, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = judged(given, prediction, y, trivial)
    assert np.isfinite(found["prediction"]).all()
    for name in ("residual", "loss", "baseline_loss"):
        assert np.isfinite(found[name]).tolist() == [True, False]
