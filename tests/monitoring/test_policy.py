"""Every rule of the policy, on evidence made by hand."""

from dataclasses import replace

import pytest

from core.schema import ProblemSpec
from monitoring.evidence import Evidence
from monitoring.policy import Decision, decide
from tests.monitoring.conftest import toy

HEALTHY = Evidence(
    rows=6000,
    days=7,
    labelled_rows=5800,
    labelled_days=7,
    residual_mean=0.01,
    residual_low=-0.02,
    residual_high=0.04,
    prediction_psi=0.03,
    drift_share=0.0,
    baseline_t=-5.0,
)


def judged(
    evidence: Evidence,
    age: int = 10,
    since_release: int = 10,
    previous: bool = True,
    since_retrain: int | None = None,
    spec: ProblemSpec | None = None,
) -> Decision:
    return decide(evidence, spec or toy(), age, since_release, previous, since_retrain)


def test_a_healthy_champion_is_left_alone_with_the_numbers_that_say_so() -> None:
    decision = judged(HEALTHY)
    assert decision.decision == "ignore"
    assert "calibration is fine: observed - predicted rate is +0.010 [-0.020, +0.040]" in decision.reasons[0]
    assert "the predictions' distribution is steady: PSI 0.030, limit 0.2" in decision.reasons
    assert "log loss is not credibly worse than a constant rate's: t = -5.00 over 7 labelled days, limit 2" in (
        decision.reasons
    )


@pytest.mark.parametrize(
    ("task", "gate", "wanted"),
    [
        ("multiclass", "accuracy", "calibration is off: accuracy - confidence is +0.200 [-0.020, +0.040] over 7"),
        (
            "regression",
            "mae",
            "calibration is off: mean residual is +0.200 [-0.020, +0.040] standard deviations over 7",
        ),
        ("regression", "pinball", "calibration is off: coverage - quantile is +0.200 [-0.020, +0.040] over 7"),
    ],
)
def test_reasons_have_the_tasks_words(task: str, gate: str, wanted: str) -> None:
    spec = toy(task, gate={"metric": gate} | ({"quantile": 0.9} if gate == "pinball" else {}))
    assert judged(replace(HEALTHY, residual_mean=0.2), spec=spec).reasons[0].startswith(wanted)


@pytest.mark.parametrize(
    ("task", "metric", "loss"),
    [
        ("binary", "brier", "Brier score is credibly worse than a constant rate's"),
        ("multiclass", "macro_f1", "log loss is credibly worse than a constant's"),
        ("regression", "mae", "absolute error is credibly worse than a constant's"),
        ("regression", "r2", "squared error is credibly worse than a constant's"),
    ],
)
def test_the_loss_has_its_own_name(task: str, metric: str, loss: str) -> None:
    decision = judged(replace(HEALTHY, baseline_t=3.0), spec=toy(task, gate={"metric": metric}))
    assert decision.reasons[0].startswith(loss)


@pytest.mark.parametrize("mean", [0.05, -0.05, 0.2])
def test_calibration_at_the_limit_retrains_in_either_direction(mean: float) -> None:
    decision = judged(replace(HEALTHY, residual_mean=mean))
    assert decision.decision == "retrain"
    assert decision.reasons[0].startswith("calibration is off")


@pytest.mark.parametrize(("psi", "wanted"), [(0.199, "ignore"), (0.2, "retrain")])
def test_a_shift_of_the_predictions_retrains_from_the_limit_on(psi: float, wanted: str) -> None:
    assert judged(replace(HEALTHY, prediction_psi=psi)).decision == wanted


def test_a_shift_of_the_predicted_classes_retrains_though_the_confidences_are_steady() -> None:
    decision = judged(replace(HEALTHY, label_psi=0.4), spec=toy("multiclass"))
    assert decision.decision == "retrain"
    assert decision.reasons[0] == "the predicted classes' distribution has shifted: PSI 0.400, limit 0.2"
    few = judged(replace(HEALTHY, label_psi=0.4), spec=toy("multiclass", classes=[str(i) for i in range(301)]))
    assert few.decision == "ignore", "6,000 rows are less than 20 for each of 301 classes"
    steady = judged(replace(HEALTHY, label_psi=0.01), spec=toy("multiclass"))
    assert "the confidences' distribution is steady: PSI 0.030, limit 0.2" in steady.reasons


@pytest.mark.parametrize(("age", "wanted"), [(28, "ignore"), (29, "retrain")])
def test_age_retrains_beyond_the_limit(age: int, wanted: str) -> None:
    assert judged(HEALTHY, age=age).decision == wanted


def test_input_drift_is_named_and_decides_nothing() -> None:
    drifted = replace(HEALTHY, drifted={"dewp": 3.7, "wind": 0.4}, drift_share=1.0)
    decision = judged(drifted)
    assert decision.decision == "ignore"
    assert "dewp 3.70, wind 0.40" in decision.reasons[-1]


def test_the_embeddings_drift_is_told_and_decides_nothing() -> None:
    decision = judged(replace(HEALTHY, embedding_psi=0.9))
    assert decision.decision == "ignore"
    assert decision.reasons[-1] == "the model's embedding drifted (explains, decides nothing): mean PSI 0.90"
    assert "embedding" not in " ".join(judged(replace(HEALTHY, embedding_psi=0.1)).reasons)


@pytest.mark.parametrize(("since", "wanted"), [(6, "ignore"), (7, "retrain")])
def test_nothing_is_retrained_during_the_cool_down(since: int, wanted: str) -> None:
    off = replace(HEALTHY, residual_mean=0.2)
    decision = judged(off, since_release=since)
    assert decision.decision == wanted
    assert any(reason.startswith("calibration is off") for reason in decision.reasons)


@pytest.mark.parametrize(("since_retrain", "wanted"), [(3, "ignore"), (7, "retrain")])
def test_a_refused_challenger_starts_a_cool_down_too(since_retrain: int, wanted: str) -> None:
    decision = judged(replace(HEALTHY, residual_mean=0.2), since_release=20, since_retrain=since_retrain)
    assert decision.decision == wanted
    assert ("cooling down: 3 days since the last retrain decision" in decision.reasons[0]) == (wanted == "ignore")


def test_calibration_waits_for_a_full_window_of_labelled_days() -> None:
    decision = judged(replace(HEALTHY, residual_mean=0.2, labelled_days=3))
    assert decision.decision == "ignore"
    assert decision.reasons[0].startswith("warming up: 3 of 7 labelled days")


def test_prediction_drift_waits_for_a_full_window() -> None:
    assert judged(replace(HEALTHY, prediction_psi=0.9, days=6)).decision == "ignore"


def test_a_source_without_rows_on_some_days_says_how_many_make_a_verdict() -> None:
    weekdays = replace(HEALTHY, days=5, labelled_days=5, residual_mean=0.2)
    assert judged(weekdays).decision == "ignore"
    assert judged(weekdays, spec=toy(monitor={"min_days": 5})).decision == "retrain"
    waiting = judged(replace(weekdays, labelled_days=4, days=4), spec=toy(monitor={"min_days": 5}))
    assert waiting.reasons[0].startswith("warming up: 4 of 5 labelled days")


def test_few_rows_are_no_evidence_but_age_still_counts() -> None:
    few = replace(HEALTHY, rows=499, residual_mean=0.2, prediction_psi=0.9, baseline_t=9.0)
    assert judged(few).decision == "ignore"
    assert judged(few, age=29).decision == "retrain"


def test_an_empty_window_is_ignored_at_any_age() -> None:
    assert judged(Evidence(), age=99) == Decision("ignore", ["no predictions by the champion in the window"])


def test_a_champion_worse_than_the_constant_rate_is_rolled_back_even_during_the_cool_down() -> None:
    worse = replace(HEALTHY, baseline_t=2.0, labelled_days=3)
    decision = judged(worse, since_release=3)
    assert decision.decision == "roll back"
    assert "credibly worse than a constant rate's: t = 2.00 over 3 labelled days" in decision.reasons[0]


@pytest.mark.parametrize(
    "evidence", [replace(HEALTHY, baseline_t=1.99), replace(HEALTHY, baseline_t=9, labelled_days=2)]
)
def test_weak_evidence_rolls_nothing_back(evidence: Evidence) -> None:
    assert judged(evidence).decision == "ignore"


def test_without_a_previous_champion_the_reason_says_that_there_is_nothing_to_go_back_to() -> None:
    decision = judged(replace(HEALTHY, baseline_t=4.0), previous=False)
    assert decision.decision == "ignore"
    assert any("no previous champion to roll back to" in reason for reason in decision.reasons)


def test_missing_values_and_empty_columns_raise_alarms() -> None:
    reasons = judged(replace(HEALTHY, null_alarms={"gust": 0.45}, empty_columns=["wind"])).reasons
    assert "alarm: 45 points more of gust are missing" in reasons
    assert "alarm: no values to compare in wind" in reasons
