"""Both DAGs, really run: what they are, what they did to the registry, the store and the server, and what `loop why`
says of it. All in one file: they share one play, and a file goes to one worker."""

import json
import os
import subprocess
import sys
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from core import decisions, lineage, predictions
from core.config import ROOT
from core.database import connect
from core.predictions import OUTCOMES, PREDICTIONS
from core.releases import Release, ReleaseReader
from pipeline.datasets import restore
from pipeline.why import recompute
from problems import load
from tests.dags.conftest import Played

pytestmark = pytest.mark.timeout(900)  # the first test waits for the whole play


def stages_of_dvc_yaml() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


def stage_of(task: str) -> str:
    """train.hgb is the stage train, of one candidate."""
    return task.partition(".")[0]


def upstream(tasks: dict[str, list[str]], name: str) -> set[str]:
    """Every task before this one."""
    direct = set(tasks[name])
    return direct.union(*(upstream(tasks, before) for before in direct))


# what they are --------------------------------------------------------------------------------------------------------


def test_the_dags_are_parsed_without_error_and_without_heavy_imports(played: Played) -> None:
    assert played.seen["errors"] == {}
    assert set(played.seen["dags"]) == {"first", "lifecycle", "monitor"}
    assert played.seen["heavy"] == []


def test_the_tasks_between_ingest_and_register_are_the_stages_of_dvc_yaml(played: Played) -> None:
    tasks = played.seen["dags"]["lifecycle"]["tasks"]
    between = upstream(tasks, "register") - upstream(tasks, "ingest") - {"ingest"}
    assert {stage_of(task) for task in between} == set(stages_of_dvc_yaml())


def test_every_candidate_is_trained_by_a_task_of_its_own(played: Played) -> None:
    assert {task for task in played.seen["dags"]["lifecycle"]["tasks"] if stage_of(task) == "train"} == {
        "train.logistic",
        "train.hgb",
    }


def test_a_stage_runs_after_the_stages_whose_outputs_it_reads(played: Played) -> None:
    tasks, stages = played.seen["dags"]["lifecycle"]["tasks"], stages_of_dvc_yaml()
    outs = {str(out).partition("/${item")[0]: name for name, stage in stages.items() for out in stage["outs"]}
    edges = {(outs[dep], name) for name, stage in stages.items() for dep in stage["deps"] if dep in outs}
    assert ("train", "evaluate") in edges
    for task in tasks:
        before = {stage_of(name) for name in upstream(tasks, task)}
        assert {first for first, then in edges if then == stage_of(task)} <= before


def test_the_life_cycle_runs_nightly_or_when_the_monitor_asks_one_at_a_time(played: Played) -> None:
    lifecycle, monitor = played.seen["dags"]["lifecycle"], played.seen["dags"]["monitor"]
    assert (lifecycle["assets"], lifecycle["cron"]) == (["retrain"], "Asset or 45 4 * * *")
    assert (monitor["assets"], monitor["cron"]) == ([], "15 4 * * *")
    for dag in (lifecycle, monitor):
        assert (dag["max_active_runs"], dag["catchup"], dag["retries"]) == (1, False, [2])


def test_the_first_life_cycle_starts_once_and_only_without_a_champion(played: Played) -> None:
    first = played.seen["dags"]["first"]
    assert (first["cron"], first["assets"]) == ("@once", [])
    assert first["tasks"] == {"without_champion": [], "start": ["without_champion"]}


# the first life cycle -------------------------------------------------------------------------------------------------


def test_a_first_life_cycle_ends_with_a_champion_that_is_served(played: Played) -> None:
    assert played.seen["first"]["state"] == "success"
    assert set(played.seen["first"]["tasks"].values()) == {"success"}
    first = played.registry.history()[0]
    assert (first.action, first.version, first.before, first.finished) == ("promote", "1", None, True)
    assert first.actor == f"lifecycle {played.seen['first']['id']}"
    assert first.evidence["outcome"] == "promote"
    assert {rule["name"] for rule in first.evidence["rules"]} >= {"parity", "blind", "days", "calibration", "baseline"}


def test_a_retried_registration_gives_one_version_and_not_two(played: Played) -> None:
    again = played.seen["again"]
    assert again["version"] == again["before"] == "1"
    assert again["release"] == {"champion": "1", "challenger": None, "percent": 0.0, "shadow": False}
    assert again["stages"] == ["evaluate", "features", "refit", "train@hgb", "train@logistic", "validate"]


def test_a_life_cycle_leaves_a_run_with_one_below_it_for_each_candidate(played: Played) -> None:
    registry = played.registry
    run = next(one for one in registry.lifecycles() if one.tags["loop.lifecycle"] == played.seen["first"]["id"])
    assert run.verdict["outcome"] == "promote"
    assert set(run.comparison["cost"]) == {"logistic", "hgb"}
    tags = registry.tags("1")
    assert tags["candidate"] == run.comparison["winner"] == run.tags["winner"]
    assert (tags["as_of"], tags["revision"]) == ("2013-02-06", "a revision")
    client = registry._client
    (experiment,) = client.search_experiments(filter_string="name = 'flights'")
    below = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{run.run}'")
    assert sorted(one.data.tags["loop.candidate"] for one in below) == ["hgb", "logistic"]
    for one in below:
        assert one.data.params
        assert {"log_loss", "log_loss_low", "log_loss_high", "roc_auc", "fit_s", "p99_ms", "bytes"} <= set(
            one.data.metrics
        )
    winner = next(one for one in below if one.data.tags["winner"] == "true")
    assert "slice/origin/JFK/roc_auc" in winner.data.metrics


def test_a_version_brings_back_the_data_it_was_trained_on(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOP_MLFLOW_URL", played.given.mlflow_url)
    monkeypatch.setenv("LOOP_DVC_REMOTE", played.given.dvc_remote)
    assert restore("1", tmp_path / "back") == played.registry.tags("1")["data_version"]
    assert len(list((tmp_path / "back/data/raw").iterdir())) == 36
    locks = lineage.from_lock_file((tmp_path / "back/dvc.lock").read_text())
    assert lineage.raw_entry(locks)["nfiles"] == 4 * 36


def test_the_same_night_once_more_is_a_tie_that_releases_nothing(played: Played) -> None:
    states = played.seen["nightly"]["tasks"]
    assert played.seen["nightly"]["state"] == "success"
    after_the_gate = {"release", "shadow", "canary", "promote", "deploy"}
    assert {name for name, state in states.items() if state == "skipped"} == after_the_gate
    run = next(o for o in played.registry.lifecycles() if o.tags["loop.lifecycle"] == played.seen["nightly"]["id"])
    assert (run.verdict["outcome"], run.verdict["version"]) == ("keep", "1")
    assert run.verdict["reason"] == "a tie: it is the champion's own model"


# monitoring -----------------------------------------------------------------------------------------------------------


def test_a_calm_day_is_decided_and_asks_for_nothing(played: Played) -> None:
    assert played.seen["traffic"]["failures"] == []
    assert played.seen["calm"]["tasks"] == {
        "ingest": "success",
        "decide": "success",
        "act": "skipped",
    }
    engine = connect(played.given.store_url)
    first, last = decisions.history(engine, "flights")
    assert (first["as_of"], first["decision"], first["champion"]) == (date(2013, 2, 7), "ignore", "1")
    assert (last["as_of"], last["decision"], last["champion"]) == (date(2013, 3, 8), "retrain", "1")
    engine.dispose()


def test_reports_are_kept_in_mlflow(played: Played, tmp_path: Path) -> None:
    engine, client = connect(played.given.store_url), played.registry._client
    first, last = decisions.history(engine, "flights")
    engine.dispose()
    for row, day in ((first, "2013-02-07"), (last, "2013-03-08")):
        run, _, name = row["report"].removeprefix("runs:/").partition("/")
        assert name == f"{day}.html"
        assert client.get_run(run).data.tags["decision"] == row["decision"]
        assert "<html" in Path(client.download_artifacts(run, name, str(tmp_path))).read_text()[:500]
        assert json.loads(Path(client.download_artifacts(run, f"{day}.json", str(tmp_path))).read_text())["metrics"]


def test_tasks_had_no_file_system_in_common(played: Played) -> None:
    """Each began with empty folders: all that has to outlive a task went through MLflow and the database."""
    ran = [
        state
        for name in ("first", "calm", "nightly", "aged", "second")
        for state in played.seen[name]["tasks"].values()
    ]
    assert played.seen["pods"] >= ran.count("success") > 30
    assert not {"loop.db", "remote", "reports", "monitoring"} & {path.name for path in played.given.home.iterdir()}


def test_a_day_s_labels_matured_by_the_next_night(played: Played) -> None:
    engine = connect(played.given.store_url)
    day = date(2013, 2, 6)
    answered = predictions.live(engine, "flights", day, day, known_before=date(2013, 2, 7))
    assert len(answered) == played.seen["traffic"]["rows"]
    assert sum(row["outcome"] is not None for row in answered) > 0.8 * len(answered)
    engine.dispose()


def test_a_retrain_decision_updates_the_asset_with_its_day_and_reasons(played: Played) -> None:
    (event,) = played.seen["events"]
    assert event["asset"] == "retrain"
    assert event["extra"]["as_of"] == "2013-03-08"
    assert event["extra"]["reasons"][0] == "the champion's training data end 31 days ago, limit 28"


# the second life cycle ------------------------------------------------------------------------------------------------


def test_a_challenger_goes_through_gate_shadow_and_canary_and_becomes_champion(played: Played) -> None:
    assert set(played.seen["second"]["tasks"].values()) == {"success"}
    events = played.registry.history()
    assert [(event.action, event.version, event.before) for event in events] == [
        ("promote", "1", None),
        ("shadow", "2", "1"),
        ("canary", "2", "1"),
        ("promote", "2", "1"),
    ], [event.reason for event in events]
    assert "against the champion over 7 days" in events[1].reason
    for event, role in zip(events[2:], ("shadow", "canary"), strict=True):
        assert event.evidence[role]["requests"] >= 50
        assert event.evidence[role]["errors"] == 0
    assert played.registry.release() == Release("2", None)
    assert played.registry.previous_champion() == "1"
    assert played.server.get("/release").json()["champion"] == "2"


def test_entities_stuck_to_their_version_while_the_canary_ran(played: Played) -> None:
    engine = connect(played.given.store_url)
    rows = predictions.live(engine, "flights", date(2013, 3, 8), date(2013, 3, 8), known_before=date(2013, 3, 8))
    engine.dispose()
    assert {row["error"] for row in rows} == {None}
    canary, event = played.registry.history()[2:]
    during = [row for row in rows if canary.at + 5 < row["served_at"] < event.at]
    by_entity: dict[str, set[str]] = {}
    for row in during:
        by_entity.setdefault(row["entity"], set()).add(row["role"])
    assert not [entity for entity, roles in by_entity.items() if len(roles) > 1]
    canaries = [row for row in rows if row["role"] == "canary"]
    assert {row["model_version"] for row in canaries} == {"2"}
    assert len(canaries) < len(rows) / 2


# what can be told of it later -----------------------------------------------------------------------------------------


def answered(played: Played) -> list[dict[str, Any]]:
    """One prediction of every day, version and role: of an event whose outcome is known, where there is one."""
    engine = connect(played.given.store_url)
    c = PREDICTIONS.c
    unknown = c.event_id.not_in(select(OUTCOMES.c.event_id))  # a cancelled flight has no outcome
    with engine.connect() as connection:
        query = select(PREDICTIONS).order_by(c.day, c.model_version, c.role, unknown, c.id)
        rows = connection.execute(query).mappings().all()
    engine.dispose()
    kinds = groupby(map(dict, rows), lambda row: (row["day"], row["model_version"], row["role"]))
    return [next(iter(mine)) for _, mine in kinds]


def why(played: Played, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline.cli", "why", *words]
    env = os.environ | played.places
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_predictions_of_every_day_version_and_role_are_replayed(played: Played) -> None:
    engine, reader = connect(played.given.store_url), ReleaseReader(played.given.mlflow_url, "flights")
    found = [recompute.replay(engine, reader, load("flights"), logged) for logged in answered(played)]
    engine.dispose()
    assert len(found) >= 4
    assert [one.differences for one in found if not one.equal] == []
    assert {one.basis for one in found} == {"inputs"}


def test_an_id_leads_to_run_revision_data_window_verdict_drift_and_outcome(played: Played) -> None:
    on_the_second_day = next(row for row in answered(played) if str(row["day"]) == "2013-03-07")
    done = why(played, on_the_second_day["id"], "--replay", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    origin, tags = found["origin"], played.registry.tags("1")
    assert (origin["run"], origin["lifecycle"]) == (played.registry.run_of("1"), played.seen["first"]["id"])
    assert (origin["revision"], origin["data_version"]) == ("a revision", tags["data_version"])
    assert (origin["as_of"], origin["first_day"], origin["last_day"]) == ("2013-02-06", "2013-01-01", "2013-02-05")
    assert found["verdict"]["outcome"] == "promote"
    assert (found["drift"]["as_of"], found["drift"]["champion"]) == ("2013-02-07", "1")
    assert found["prediction"]["outcome"] in (0, 1)
    assert found["replay"]["equal"] is True


def test_a_terminal_gets_a_page(played: Played) -> None:
    id = answered(played)[0]["id"]
    done = why(played, id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Prediction {id}\n")
    assert "Drift, as known when it was answered" in done.stdout
    missing = why(played, "f" * 32)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "the store has no prediction" in missing.stderr
