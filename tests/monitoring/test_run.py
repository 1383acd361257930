"""From the prediction log to a recorded decision, with real Evidently."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from core import decisions
from monitoring import report
from monitoring.run import Champion, run
from problems import Problem
from tests.monitoring.conftest import AS_OF, Store, sample


@pytest.mark.parametrize(
    ("changes", "wanted", "first_reason"),
    [
        ({}, "ignore", "calibration is fine"),
        ({"bias": 0.12}, "retrain", "calibration is off"),
        ({"logit": 1.2}, "retrain", "the predictions' distribution has shifted"),
        ({"wind": 3.0}, "ignore", "calibration is fine"),
    ],
)
def test_what_changed_decides(
    changes: dict[str, float],
    wanted: str,
    first_reason: str,
    engine: Engine,
    problem: Problem,
    champion: Champion,
    reference: pd.DataFrame,
    store: Store,
    tmp_path: Path,
) -> None:
    store(sample(2800, seed=1, **changes))
    decision = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert decision.decision == wanted
    assert decision.reasons[0].startswith(first_reason)
    assert any("PSI wind" in reason for reason in decision.reasons) == ("wind" in changes)
    (row,) = decisions.history(engine, "toy")
    assert (row["decision"], row["reasons"], row["champion"]) == (wanted, decision.reasons, "3")
    assert row["report"] == str(tmp_path / "toy" / "2013-04-20.html")
    assert row["evidence"]["rows"] == 2800
    json.dumps(row["evidence"], allow_nan=False)


def test_the_decision_follows_the_values_in_the_report(
    engine: Engine,
    problem: Problem,
    champion: Champion,
    reference: pd.DataFrame,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store(sample(1400, seed=1))
    assert run(engine, problem, AS_OF, champion, reference, tmp_path).decision == "ignore"
    content = json.loads((tmp_path / "toy" / "2013-04-20.json").read_text())
    assert report.reading(content).prediction_psi is not None
    for metric, value in (("MeanValue", 0.3), ("ValueDrift", 0.3)):
        monkeypatch.setattr(report, "reading", _doctored(report.reading, metric, value))
        assert run(engine, problem, AS_OF, champion, reference, tmp_path).decision == "retrain"
        monkeypatch.undo()


def _doctored(reading: Any, metric: str, value: float) -> Any:
    def read(content: dict[str, Any]) -> report.Reading:
        for entry in content["metrics"]:
            if metric in entry["config"]["type"] and entry["config"]["column"] in ("residual", "prediction"):
                entry["value"] = value
        found: report.Reading = reading(content)
        return found

    return read


def test_a_champion_that_is_worse_than_a_constant_is_rolled_back(
    engine: Engine, problem: Problem, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    bad = sample(900, seed=1)
    outcome = (bad["residual"] + bad["prediction"]).round()
    bad["prediction"] = np.where(outcome == 1, 0.02, 0.6)
    store(bad.assign(residual=outcome - bad["prediction"]), days=3)
    decision = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert decision.decision == "roll back"
    assert run(engine, problem, AS_OF, replace(champion, previous=None), reference, tmp_path).decision == "ignore"


def test_labels_that_are_known_too_late_are_not_seen(
    engine: Engine, problem: Problem, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    store(sample(1400, seed=1, bias=0.3), known_after_days=4)  # days -7 to -5 are known, the others are not
    decision = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert decision.reasons[0].startswith("warming up: 3 of 7 labelled days")
    assert decisions.history(engine, "toy")[0]["evidence"]["labelled_rows"] == 600


def test_a_retrain_decision_of_this_week_delays_the_next(
    engine: Engine, problem: Problem, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    store(sample(2800, seed=1, bias=0.12), days=8)
    assert run(engine, problem, AS_OF, champion, reference, tmp_path).decision == "retrain"
    again = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert again.decision == "retrain"  # the same day once more: its own earlier decision is no reason to wait
    earlier = {**decisions.history(engine, "toy")[0], "as_of": AS_OF - timedelta(days=3)}
    decisions.record(engine, earlier)
    waiting = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert waiting.decision == "ignore"
    assert waiting.reasons[0].startswith("cooling down: 3 days since the last retrain decision")


def test_without_a_champion_or_predictions_the_day_is_recorded_as_ignored(
    engine: Engine, problem: Problem, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    store(sample(700, seed=1), version="2")  # only the one before answered
    assert run(engine, problem, AS_OF, champion, reference, tmp_path).reasons == [
        "no predictions by the champion in the window"
    ]
    assert run(engine, problem, AS_OF, None, None, tmp_path).reasons == ["no champion to judge"]
    (row,) = decisions.history(engine, "toy")
    assert (row["decision"], row["champion"], row["report"]) == ("ignore", None, None)
