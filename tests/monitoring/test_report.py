"""What the report compares and how it is read back: real Evidently."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.scored import watched
from monitoring import evidence, report
from monitoring.frames import typed
from problems import Problem
from tests.monitoring.conftest import toy, world

MADE = datetime(2013, 4, 20)


def live(rows: int, seed: int = 1, task: str = "binary", **changes: float) -> pd.DataFrame:
    days = [f"2013-04-{1 + i % 7:02}" for i in range(rows)]
    return world(rows, seed, task, **changes).scored(toy(task)).assign(day=days, _cluster=days)


def build(current: pd.DataFrame, reference: pd.DataFrame | None, problem: Problem, tmp_path: Path) -> evidence.Evidence:
    return evidence.build(current, reference, problem.spec, tmp_path / "toy" / "night", MADE)


def test_the_report_agrees_with_the_plain_numbers(problem: Problem, reference: pd.DataFrame, tmp_path: Path) -> None:
    current = live(7000)
    current.loc[::5, ["residual", "loss", "baseline_loss"]] = np.nan
    found = build(current, reference, problem, tmp_path)
    assert (found.rows, found.labelled_rows, found.labelled_days) == (7000, 5600, 7)
    assert found.residual_mean == pytest.approx(current["residual"].mean(), abs=1e-12)  # all rows, not the sample
    assert found.residual_low is not None
    assert found.residual_high is not None
    assert found.residual_low < current["residual"].mean() < found.residual_high
    assert found.drift_share == 0.0
    assert found.baseline_t is not None
    assert found.baseline_t < -2
    assert set(found.tests.values()) == {"SUCCESS"}
    html = (tmp_path / "toy" / "night.html").read_text()
    assert 'src="http' not in html


def test_the_reports_tests_fail_where_the_policy_acts(
    problem: Problem, reference: pd.DataFrame, tmp_path: Path
) -> None:
    found = build(live(3000, wind=2, shift=1.5, bias=-0.2), reference, problem, tmp_path)
    failed = {name for name, status in found.tests.items() if status == "FAIL"}
    assert failed == {
        "Mean value of 'residual': Greater -0.050",
        "Value drift for prediction: Less 0.200",
        "Value Drift for column wind",
    }
    assert list(found.drifted) == ["wind"]


def test_a_column_without_values_is_left_out_with_an_alarm(
    problem: Problem, reference: pd.DataFrame, tmp_path: Path
) -> None:
    found = build(live(600).assign(wind=np.nan), reference.drop(columns="carrier"), problem, tmp_path)
    assert found.empty_columns == ["wind", "carrier"]
    assert found.null_alarms == {"wind": 1.0}
    assert found.drift_share == 0.0


def test_more_missing_values_raise_an_alarm_though_the_score_stays(
    problem: Problem, reference: pd.DataFrame, tmp_path: Path
) -> None:
    current = live(2000)
    current.loc[::2, "gust"] = np.nan
    found = build(current, reference, problem, tmp_path)
    assert found.null_alarms["gust"] == pytest.approx(0.45, abs=0.03)
    assert not found.drifted


def test_new_categories_and_constant_columns_are_drift_and_not_an_error(
    problem: Problem, reference: pd.DataFrame, tmp_path: Path
) -> None:
    found = build(live(600).assign(carrier="new", wind=1.0), reference.assign(wind=0.0), problem, tmp_path)
    assert set(found.drifted) == {"carrier", "wind"}


def test_without_labels_or_reference_the_report_says_less(
    problem: Problem, reference: pd.DataFrame, tmp_path: Path
) -> None:
    unlabelled = build(live(600).assign(residual=np.nan), reference, problem, tmp_path)
    assert unlabelled.residual_mean is None
    assert unlabelled.loss is None
    assert unlabelled.prediction_psi is not None
    alone = build(live(600), None, problem, tmp_path)
    assert alone.residual_mean is not None
    assert (alone.prediction_psi, alone.drift_share) == (None, None)


def test_no_rows_make_no_report(problem: Problem, reference: pd.DataFrame, tmp_path: Path) -> None:
    assert build(live(0), reference, problem, tmp_path) == evidence.Evidence()
    assert not (tmp_path / "toy").exists()


def test_predicted_classes_are_compared_where_the_problem_names_them(tmp_path: Path) -> None:
    problem, before = Problem(toy("multiclass")), world(2000, 0, "multiclass").scored(toy("multiclass"))
    steady = build(live(1400, task="multiclass"), before, problem, tmp_path)
    assert steady.label_psi is not None
    assert steady.label_psi < 0.05
    shifted = build(live(1400, task="multiclass", shift=2.0), before, problem, tmp_path)
    assert shifted.label_psi is not None
    assert shifted.label_psi > 0.2
    assert shifted.tests["Value drift for label: Less 0.200"] == "FAIL"
    assert build(live(600), None, problem, tmp_path).label_psi is None


def with_embedding(frame: pd.DataFrame, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(len(frame))
    return frame.assign(**{f"embedding_{i}": rng.normal(shift, 1, len(frame)) for i in range(3)})


def test_the_embedding_is_a_group_of_its_own(problem: Problem, reference: pd.DataFrame, tmp_path: Path) -> None:
    found = build(with_embedding(live(1400), shift=2.0), with_embedding(reference), problem, tmp_path)
    assert found.embedding_psi is not None
    assert found.embedding_psi > 1
    assert (found.drifted, found.drift_share, found.empty_columns) == ({}, 0.0, [])
    steady = build(with_embedding(live(1400)), with_embedding(reference), problem, tmp_path)
    assert steady.embedding_psi is not None
    assert steady.embedding_psi < 0.1


def test_an_embedding_that_is_not_logged_is_an_alarm(problem: Problem, reference: pd.DataFrame, tmp_path: Path) -> None:
    found = build(live(1400), with_embedding(reference), problem, tmp_path)
    assert (found.embedding_psi, found.empty_columns) == (None, ["embedding"])


def test_intervals_are_by_cluster_and_the_comparison_with_the_constant_by_day(
    problem: Problem, reference: pd.DataFrame, tmp_path: Path
) -> None:
    current = live(1400)
    by_day = build(current, reference, problem, tmp_path)
    by_pair = build(current.assign(_cluster=np.arange(1400) // 700), reference, problem, tmp_path)
    assert by_day.residual_high is not None
    assert by_pair.residual_high is not None
    assert by_day.residual_high != by_pair.residual_high
    assert by_day.baseline_t == by_pair.baseline_t


def test_only_what_is_watched_is_sampled_and_a_sparse_column_keeps_its_values(problem: Problem) -> None:
    frame = typed(live(1000).assign(wind=[1.0] + [np.nan] * 999), watched(problem.spec, []))
    out = report.sampled(frame, ["wind", "carrier"], rows=100)
    assert out["carrier"].notna().sum() == 100
    assert out["prediction"].notna().all()
    assert out["wind"].notna().sum() == 1
