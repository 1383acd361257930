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
from tests.monitoring.conftest import AS_OF, TASKS, Store, World, champion_of, toy, world


@pytest.mark.parametrize(
    ("changes", "wanted", "first_reason"),
    [
        ({}, "ignore", "calibration is fine"),
        ({"bias": 0.12}, "retrain", "calibration is off"),
        ({"shift": 1.2}, "retrain", "the predictions' distribution has shifted"),
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
    store(world(2800, seed=1, **changes))
    decision = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert decision.decision == wanted
    assert decision.reasons[0].startswith(first_reason)
    assert any("PSI wind" in reason for reason in decision.reasons) == ("wind" in changes)
    (row,) = decisions.history(engine, "toy")
    assert (row["decision"], row["reasons"], row["champion"]) == (wanted, decision.reasons, "3")
    assert row["report"] == str(tmp_path / "toy" / "2013-04-20.html")
    assert row["evidence"]["rows"] == 2800
    json.dumps(row["evidence"], allow_nan=False)


@pytest.mark.parametrize("hidden", [["wind"], ["wind", "gust", "carrier"]])
def test_what_is_sensitive_is_not_watched(
    hidden: list[str], engine: Engine, champion: Champion, store: Store, tmp_path: Path
) -> None:
    features = {name: feature.model_dump() for name, feature in toy().features.items()}
    spec = toy(features=features | {name: features[name] | {"sensitive": True} for name in hidden})
    live, before = world(2800, seed=1, wind=3.0), world(2000, seed=0)
    store(replace(live, inputs=live.inputs.drop(columns=hidden).assign(unknown=1.0)))  # as the server logs it
    reference = before.scored(spec).drop(columns=hidden)  # as training writes it
    decision = run(engine, Problem(spec), AS_OF, champion, reference, tmp_path)
    assert decision.decision == "ignore"
    (row,) = decisions.history(engine, "toy")
    assert "wind" not in json.dumps(row["evidence"])
    assert "wind" not in " ".join(row["reasons"])


SIMULATED = [
    ("multiclass", {}, "ignore", "calibration is fine: accuracy - confidence is"),
    ("multiclass", {"bias": 0.15}, "retrain", "calibration is off: accuracy - confidence is -0."),
    ("multiclass", {"shift": 1.5}, "retrain", "the predicted classes' distribution has shifted: PSI"),
    ("regression", {}, "ignore", "calibration is fine: mean residual is"),
    ("regression", {"bias": 0.2}, "retrain", "calibration is off: mean residual is +0."),
    ("regression", {"shift": 1.5}, "retrain", "the predictions' distribution has shifted: PSI"),
]


@pytest.mark.parametrize(("task", "changes", "wanted", "first_reason"), SIMULATED)
def test_other_tasks_are_judged_alike(
    task: str,
    changes: dict[str, float],
    wanted: str,
    first_reason: str,
    engine: Engine,
    store: Store,
    tmp_path: Path,
) -> None:
    store(world(2800, 1, task, **changes), task=task)
    before = world(2000, 0, task).scored(toy(task))
    decision = run(engine, Problem(toy(task)), AS_OF, champion_of(task), before, tmp_path)
    assert decision.decision == wanted, decision.reasons
    assert decision.reasons[0].startswith(first_reason)
    json.dumps(decisions.history(engine, "toy")[0]["evidence"], allow_nan=False)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_says_the_opposite_is_rolled_back_whatever_the_task(
    task: str, engine: Engine, store: Store, tmp_path: Path
) -> None:
    good = world(2100, 1, task)
    inverted = 20 - good.prediction if task == "regression" else 1 - good.prediction
    inverted = inverted / 2 if task == "multiclass" else inverted
    store(World(good.inputs, inverted, good.y), task=task)
    before = world(2000, 0, task).scored(toy(task))
    decision = run(engine, Problem(toy(task)), AS_OF, champion_of(task), before, tmp_path)
    assert decision.decision == "roll back", decision.reasons
    assert "credibly worse than a constant" in decision.reasons[0]


def test_the_requests_columns_are_read_for_a_problem_with_clusters(
    engine: Engine, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    store(world(1400, seed=1), inputs={"who": "everyone"})
    run(engine, Problem(toy(cluster="who")), AS_OF, champion, reference, tmp_path)
    found = decisions.history(engine, "toy")[0]["evidence"]
    assert found["residual_mean"] is not None
    assert found["residual_low"] is None, "one cluster gives no interval"


def test_the_decision_follows_the_values_in_the_report(
    engine: Engine,
    problem: Problem,
    champion: Champion,
    reference: pd.DataFrame,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store(world(1400, seed=1))
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
    good = world(900, seed=1)
    store(World(good.inputs, np.where(good.y == 1, 0.02, 0.6), good.y), days=3)
    decision = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert decision.decision == "roll back"
    assert run(engine, problem, AS_OF, replace(champion, previous=None), reference, tmp_path).decision == "ignore"


def test_labels_that_are_known_too_late_are_not_seen(
    engine: Engine, problem: Problem, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    store(world(1400, seed=1, bias=0.3), known_after_days=4)  # days -7 to -5 are known, the others are not
    decision = run(engine, problem, AS_OF, champion, reference, tmp_path)
    assert decision.reasons[0].startswith("warming up: 3 of 7 labelled days")
    assert decisions.history(engine, "toy")[0]["evidence"]["labelled_rows"] == 600


def test_a_retrain_decision_of_this_week_delays_the_next(
    engine: Engine, problem: Problem, champion: Champion, reference: pd.DataFrame, store: Store, tmp_path: Path
) -> None:
    store(world(2800, seed=1, bias=0.12), days=8)
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
    store(world(700, seed=1), version="2")  # only the one before answered
    assert run(engine, problem, AS_OF, champion, reference, tmp_path).reasons == [
        "no predictions by the champion in the window"
    ]
    assert run(engine, problem, AS_OF, None, None, tmp_path).reasons == ["no champion to judge"]
    (row,) = decisions.history(engine, "toy")
    assert (row["decision"], row["champion"], row["report"]) == ("ignore", None, None)
