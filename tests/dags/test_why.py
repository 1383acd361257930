"""`loop why` on what the DAGs really made: a server process, Airflow's life cycles, the monitor's decisions."""

import json
import os
import subprocess
import sys
from itertools import groupby
from typing import Any

import pytest
from sqlalchemy import select

from core.config import ROOT
from core.database import connect
from core.predictions import OUTCOMES, PREDICTIONS
from core.releases import ReleaseReader
from pipeline.why import recompute
from problems import load
from tests.dags.conftest import Played

pytestmark = pytest.mark.timeout(900)  # the first test waits for the whole play


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
