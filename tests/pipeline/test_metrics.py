"""Metrics against scikit-learn, and intervals that respect days."""

import numpy as np
import pytest
from sklearn import metrics as sk

from pipeline.metrics import METRICS, brier_rows, daily_difference, describe, log_loss_rows, with_interval


def drawn(seed: int, days: int = 14, rows: int = 200, day_effect: float = 0.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    p = rng.uniform(0.02, 0.98, days * rows)
    shifted = np.clip(p + np.repeat(rng.normal(0, day_effect, days), rows), 0.001, 0.999)
    return (rng.random(days * rows) < shifted).astype(np.float32), p, day


def test_metrics_are_those_of_scikit_learn() -> None:
    y, p, _ = drawn(0)
    assert METRICS["log_loss"](y, p) == pytest.approx(sk.log_loss(y, p))
    assert METRICS["brier"](y, p) == pytest.approx(sk.brier_score_loss(y, p))
    assert METRICS["roc_auc"](y, p) == pytest.approx(sk.roc_auc_score(y, p))
    assert METRICS["pr_auc"](y, p) == pytest.approx(sk.average_precision_score(y, p))
    assert METRICS["observed_minus_expected"](y, p) == pytest.approx(y.mean() - p.mean())


def test_a_sure_and_wrong_prediction_costs_much_but_not_infinitely_much() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0], np.float32)
    loss = log_loss_rows(y, p)
    assert (loss[:2] > 15).all()
    assert (loss[2:] < 1e-6).all()
    assert brier_rows(y, p).tolist() == [1, 1, 0, 0]


def test_the_interval_holds_the_metric_and_days_that_differ_widen_it() -> None:
    y, p, day = drawn(1)
    calm = with_interval(METRICS["observed_minus_expected"], y, p, day)
    assert calm["low"] < calm["value"] < calm["high"]  # type: ignore[operator]
    y, p, day = drawn(1, day_effect=0.3)
    stormy = with_interval(METRICS["observed_minus_expected"], y, p, day)
    assert stormy["high"] - stormy["low"] > 2 * (calm["high"] - calm["low"])  # type: ignore[operator]


def test_the_interval_of_a_mean_is_the_t_interval_over_days() -> None:
    y, p, day = drawn(2)
    daily = brier_rows(y, p).reshape(14, -1).mean(axis=1)
    half = 2.1604 * daily.std(ddof=1) / np.sqrt(14)  # t, 13 degrees of freedom
    found = with_interval(METRICS["brier"], y, p, day)
    assert found["high"] - found["value"] == pytest.approx(half, rel=1e-4)  # type: ignore[operator]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """With strong day effects the rows' own interval would cover far too seldom."""
    covered = 0
    for seed in range(100):
        y, p, day = drawn(seed, rows=60, day_effect=0.2)
        found = with_interval(METRICS["observed_minus_expected"], y, p, day)
        covered += found["low"] <= 0 <= found["high"]  # type: ignore[operator]
    assert 88 <= covered <= 100


def test_too_few_days_have_no_interval() -> None:
    y, p, day = drawn(3, days=2)
    assert with_interval(METRICS["brier"], y, p, day)["low"] is None
    assert set(describe(y, p, day)) == set(METRICS)


def test_the_daily_difference_weighs_days_and_not_rows() -> None:
    days = np.array([1] * 98 + [2, 3])
    a = np.array([0.0] * 98 + [1.0, 2.0])
    mean, error, n = daily_difference(a, np.zeros(100), days)
    assert (mean, n) == (pytest.approx(1.0), 3)
    assert error == pytest.approx(1 / np.sqrt(3))


def test_models_that_agree_differ_by_exactly_nothing() -> None:
    loss, days = np.random.default_rng(0).random(50), np.repeat(np.arange(5), 10)
    assert daily_difference(loss, loss, days) == (0.0, 0.0, 5)


def test_the_error_of_one_day_is_not_known() -> None:
    _, error, n = daily_difference(np.ones(5), np.zeros(5), np.zeros(5))
    assert (error, n) == (float("inf"), 1)
