"""What the report compares and how it is read back: real Evidently."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring import evidence, report
from monitoring.frames import typed
from problems import Problem
from tests.monitoring.conftest import sample

MADE = datetime(2013, 4, 20)


def live(rows: int, seed: int = 1, **changes: float) -> pd.DataFrame:
    return sample(rows, seed, **changes).assign(day=[f"2013-04-{1 + i % 7:02}" for i in range(rows)])


def build(current: pd.DataFrame, reference: pd.DataFrame | None, problem: Problem, tmp_path: Path) -> evidence.Evidence:
    return evidence.build(current, reference, problem.spec, 0.25, tmp_path / "toy" / "night", MADE)


def test_the_report_agrees_with_the_plain_numbers(problem: Problem, reference: pd.DataFrame, tmp_path: Path) -> None:
    current = live(7000)
    current.loc[::5, "residual"] = np.nan
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
    found = build(live(3000, wind=2, logit=1.5, bias=-0.2), reference, problem, tmp_path)
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
    assert unlabelled.log_loss is None
    assert unlabelled.prediction_psi is not None
    alone = build(live(600), None, problem, tmp_path)
    assert alone.residual_mean is not None
    assert (alone.prediction_psi, alone.drift_share) == (None, None)


def test_no_rows_make_no_report(problem: Problem, reference: pd.DataFrame, tmp_path: Path) -> None:
    assert build(live(0), reference, problem, tmp_path) == evidence.Evidence()
    assert not (tmp_path / "toy").exists()


def test_only_features_are_sampled_and_a_sparse_one_keeps_its_values(problem: Problem) -> None:
    frame = typed(problem.spec, live(1000).assign(wind=[1.0] + [np.nan] * 999))
    out = report.sampled(frame, ["wind", "carrier"], rows=100)
    assert out["carrier"].notna().sum() == 100
    assert out["prediction"].notna().all()
    assert out["wind"].notna().sum() == 1
