"""Metrics against scikit-learn, their intervals and their differences, for all three tasks."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from core.schema import METRICS, ProblemSpec
from core.task import log_loss, squared_error
from pipeline.metrics import (
    CALIBRATION,
    GROUPS,
    Metric,
    calibration,
    cluster_difference,
    describe,
    difference,
    measures,
    with_interval,
)
from tests.toy import spec

OFF = calibration(spec(), 1.0)
BRIER = measures(spec())["brier"]
TASKS = ["binary", "multiclass", "regression"]
PINBALL = {"metric": "pinball", "quantile": 0.9}


def drawn(seed: int, days: int = 14, rows: int = 200, day_effect: float = 0.0) -> tuple[np.ndarray, ...]:
    """Outcomes, predictions and days of a binary problem."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    p = rng.uniform(0.02, 0.98, days * rows)
    shifted = np.clip(p + np.repeat(rng.normal(0, day_effect, days), rows), 0.001, 0.999)
    return (rng.random(days * rows) < shifted).astype(np.float32), p, day


def of_task(task: str, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, ...]:
    """Outcomes, predictions that know something of them, less with more noise, and days."""
    rng, n = np.random.default_rng(seed), 1400
    logits = rng.normal(0, 1, (n, 3)) * 2
    y = (logits + rng.gumbel(size=(n, 3))).argmax(axis=1).astype(np.float64)
    p = np.exp(logits + rng.normal(0, noise, (n, 3)))
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    day = np.repeat(np.arange(14), 100)
    if task == "multiclass":
        return y, p, day
    if task == "binary":
        return (y == 2).astype(np.float64), p[:, 2], day
    return 50 + 10 * y, (50 + 10 * p @ np.arange(3)).astype(np.float32), day


# against scikit-learn -------------------------------------------------------------------------------------------------

Score = Callable[[np.ndarray, np.ndarray], float]
EXPECTED: dict[str, dict[str, Score]] = {
    "binary": {
        "log_loss": sk.log_loss,
        "brier": sk.brier_score_loss,
        "roc_auc": sk.roc_auc_score,
        "pr_auc": sk.average_precision_score,
        "accuracy": lambda y, p: sk.accuracy_score(y, p >= 0.5),
        "f1": lambda y, p: sk.f1_score(y, p >= 0.5),
    },
    "multiclass": {
        "log_loss": lambda y, p: sk.log_loss(y, p / p.sum(axis=1, keepdims=True, dtype=np.float64)),
        "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(axis=1)),
        "macro_f1": lambda y, p: sk.f1_score(y, p.argmax(axis=1), average="macro"),
        "top_2_accuracy": lambda y, p: sk.top_k_accuracy_score(y, p, k=2),
    },
    "regression": {
        "mae": sk.mean_absolute_error,
        "mse": sk.mean_squared_error,
        "rmse": sk.root_mean_squared_error,
        "r2": sk.r2_score,
        "pinball": lambda y, p: sk.mean_pinball_loss(y, p, alpha=0.9),
    },
}


def everything(task: str) -> ProblemSpec:
    return spec(task=task, gate=PINBALL if task == "regression" else {})


@pytest.mark.parametrize("task", TASKS)
def test_the_metrics_are_those_that_the_schema_names_and_those_of_scikit_learn(task: str) -> None:
    y, p, _ = of_task(task)
    found = measures(everything(task))
    assert tuple(found) == METRICS[everything(task).task]
    assert {name: metric.value(y, p) for name, metric in found.items()} == {
        name: pytest.approx(score(y, p), rel=1e-5) for name, score in EXPECTED[task].items()
    }


def test_pinball_is_measured_where_a_quantile_is_declared() -> None:
    assert "pinball" not in measures(spec(task="regression"))


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_knows_which_direction_is_the_good_one(task: str) -> None:
    y, good, day = of_task(task, noise=0.1)
    _, bad, _ = of_task(task, noise=3.0)
    for name, metric in measures(everything(task)).items():
        worse, error, clusters = difference(metric, y, bad, good, day)
        assert worse > 3 * error > 0, name
        assert clusters == 14
        assert difference(metric, y, good, bad, day).t < -3, name


@pytest.mark.parametrize("task", TASKS)
def test_the_baseline_has_every_metric_with_its_interval(task: str) -> None:
    y, p, day = of_task(task)
    found = describe(everything(task), 1.0, y, np.broadcast_to(p.mean(axis=0), p.shape), day)
    assert set(found) == {*METRICS[everything(task).task], CALIBRATION}
    for name, ends in found.items():
        assert ends["low"] <= ends["value"] <= ends["high"], name  # type: ignore[operator]


def test_equal_probabilities_make_no_class_the_first_two() -> None:
    y, p = np.array([0.0, 1.0, 2.0]), np.full((3, 3), 1 / 3, np.float32)
    assert measures(spec(task="multiclass"))["top_2_accuracy"].value(y, p) == pytest.approx(2 / 3)


def test_what_one_outcome_alone_leaves_undefined_is_no_number() -> None:
    zeros, p, one_row = np.zeros(20), np.full(20, 0.3), np.array([5.0])
    of_binary, of_regression = measures(spec()), measures(spec(task="regression"))
    undefined = {name for name, metric in of_binary.items() if metric.value(zeros, p) is None}
    assert undefined == {"roc_auc", "pr_auc", "f1"}
    assert of_regression["r2"].value(one_row, one_row) is None
    assert np.isnan(difference(of_binary["roc_auc"], zeros, p, p, np.arange(20)).worse)


def test_a_metric_that_one_day_s_absence_leaves_undefined_has_no_interval() -> None:
    y, day = np.repeat([0.0, 0.0, 1.0, 0.0], 5), np.repeat(np.arange(4), 5)
    p = np.linspace(0.1, 0.9, 20)
    found = with_interval(measures(spec())["roc_auc"], y, p, day)
    assert found["value"] is not None
    assert found["low"] is None
    assert difference(measures(spec())["roc_auc"], y, p, 1 - p, day).error == float("inf")


def test_the_calibration_is_the_mean_residual_in_its_unit() -> None:
    y, p, _ = drawn(0)
    assert OFF.value(y, p) == pytest.approx(y.mean(dtype=np.float64) - p.mean())
    y, p, _ = of_task("multiclass")
    right = (p.argmax(axis=1) == y).mean() - p.max(axis=1).mean()
    assert calibration(spec(task="multiclass"), 1.0).value(y, p) == pytest.approx(right, abs=1e-6)
    y, p, _ = of_task("regression")
    assert calibration(spec(task="regression"), 20.0).value(y, p) == pytest.approx((y - p).mean() / 20)


def test_a_sure_and_wrong_prediction_costs_much_but_not_infinitely_much() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0], np.float32)
    loss = log_loss(y, p)
    assert (loss[:2] > 15).all()
    assert (loss[2:] < 1e-6).all()
    assert log_loss(y, np.stack([1 - p, p], axis=1)) == pytest.approx(loss)
    assert squared_error(y, p).tolist() == [1, 1, 0, 0]


# intervals ------------------------------------------------------------------------------------------------------------


def test_the_interval_holds_the_metric_and_days_that_differ_widen_it() -> None:
    calm, stormy = with_interval(OFF, *drawn(1)), with_interval(OFF, *drawn(1, day_effect=0.3))
    assert calm["low"] < calm["value"] < calm["high"]  # type: ignore[operator]
    assert stormy["high"] - stormy["low"] > 2 * (calm["high"] - calm["low"])  # type: ignore[operator]


def test_the_interval_of_a_mean_is_the_t_interval_over_days() -> None:
    y, p, day = drawn(2)
    daily = squared_error(y, p).reshape(14, -1).mean(axis=1)
    half = 2.1604 * daily.std(ddof=1) / np.sqrt(14)  # t, 13 degrees of freedom
    found = with_interval(BRIER, y, p, day)
    assert found["high"] - found["value"] == pytest.approx(half, rel=1e-4)  # type: ignore[operator]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """With strong day effects the rows' own interval would cover far too seldom."""
    covered = 0
    for seed in range(100):
        found = with_interval(OFF, *drawn(seed, rows=60, day_effect=0.2))
        covered += found["low"] <= 0 <= found["high"]  # type: ignore[operator]
    assert 88 <= covered <= 100


def test_many_clusters_are_left_out_in_groups_and_cover_as_well() -> None:
    calls = []

    def value(y: np.ndarray, p: np.ndarray) -> float:
        calls.append(len(y))
        return float((y - p).mean())

    covered = 0
    for seed in range(100):
        found = with_interval(Metric("off", value), *drawn(seed, days=400, rows=5, day_effect=0.2))
        covered += found["low"] <= 0 <= found["high"]  # type: ignore[operator]
    assert len(calls) == 100 * (GROUPS + 1)
    assert 88 <= covered <= 100


def test_too_few_days_have_no_interval() -> None:
    assert with_interval(BRIER, *drawn(3, days=2))["low"] is None


# differences ----------------------------------------------------------------------------------------------------------


def test_leaving_out_days_finds_the_error_that_the_day_means_have() -> None:
    """A mean over rows may be compared either way; the jackknife is what other metrics are compared by."""
    y, p, day = drawn(4)
    other = np.clip(p + np.random.default_rng(1).normal(0, 0.1, len(p)), 0, 1)
    by_means = difference(BRIER, y, other, p, day)
    jackknifed = difference(Metric("brier", BRIER.value), y, other, p, day)
    assert jackknifed == pytest.approx(by_means, rel=1e-6)


def test_a_difference_of_means_weighs_days_and_not_rows() -> None:
    days = np.array([1] * 98 + [2, 3])
    a = np.array([0.0] * 98 + [1.0, 2.0])
    mean, error, n = cluster_difference(a, np.zeros(100), days)
    assert (mean, n) == (pytest.approx(1.0), 3)
    assert error == pytest.approx(1 / np.sqrt(3))


def test_models_that_agree_differ_by_exactly_nothing() -> None:
    loss, days = np.random.default_rng(0).random(50), np.repeat(np.arange(5), 10)
    assert cluster_difference(loss, loss, days) == (0.0, 0.0, 5)


def test_the_error_of_one_day_is_not_known() -> None:
    _, error, n = cluster_difference(np.ones(5), np.zeros(5), np.zeros(5))
    assert (error, n) == (float("inf"), 1)
