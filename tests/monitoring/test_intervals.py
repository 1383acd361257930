"""Intervals and tests with days as clusters."""

import numpy as np
import pytest

from monitoring.intervals import Estimate, clustered_mean, daily_t


def test_the_interval_covers_the_truth_when_days_differ() -> None:
    """200 windows of 7 days with a common shift a day: per-row intervals would cover about a fifth of the time."""
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(7), 100)
    covered = 0
    for _ in range(200):
        found = clustered_mean(np.repeat(rng.normal(0, 1, 7), 100) + rng.normal(0, 1, 700), days)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert 0.9 <= covered / 200 <= 0.99


def test_a_single_day_has_a_mean_and_no_interval() -> None:
    assert clustered_mean(np.array([1.0, 3.0]), np.array(["a", "a"])) == Estimate(2.0, None, None)


def test_no_rows_have_no_mean() -> None:
    assert clustered_mean(np.array([]), np.array([])) == Estimate(None, None, None)


def test_the_paired_t_is_of_day_means() -> None:
    differences, days = np.array([1.0, 1.0, 1.0, 2.0, 3.0]), np.array([1, 1, 1, 2, 3])
    assert daily_t(differences, days) == pytest.approx(2 / (1 / np.sqrt(3)))


@pytest.mark.parametrize("differences", [np.zeros(4), np.array([])])
def test_identical_losses_have_no_t(differences: np.ndarray) -> None:
    assert daily_t(differences, np.array([1, 1, 2, 2])[: len(differences)]) is None
