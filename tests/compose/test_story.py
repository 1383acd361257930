"""`docker compose up` on a real engine: the loop closes, and goes on when what it stands on dies. Minutes long."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config import ROOT
from core.releases import ReleaseReader
from pipeline.image import labels
from tests.compose import registry
from tests.compose.project import NAME, Project, running
from tests.compose.story import BACK_S, FIRST_DAY, Story

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2700)]


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with running(FIRST_DAY) as project:
        story = Story(project)
        story.play()
        yield story


@pytest.fixture(scope="module")
def project(story: Story) -> Project:
    return story.project


def test_a_first_life_cycle_runs_by_itself_and_the_model_answers(story: Story) -> None:
    assert story.seen.states["first"] == "success"
    assert story.seen.releases["first"]["champion"] == "1"


def test_drift_leads_to_a_retraining_and_the_server_takes_the_new_champion(story: Story) -> None:
    assert "night: retrain" in story.seen.printed
    assert story.seen.releases["canary"]["canary"] == "2"
    assert story.seen.releases["promoted"]["champion"] == "2"


def test_the_monitor_rolls_back_a_champion_that_is_worse_than_a_constant(story: Story) -> None:
    assert (story.seen.decision["decision"], story.seen.decision["champion"]) == ("roll back", "2")
    assert story.seen.releases["rolled back"]["champion"] == "1"


def test_canary_promotion_and_roll_back_restart_no_server(story: Story) -> None:
    since = {name: release["since"] for name, release in story.seen.releases.items()}
    assert since["first"] == since["canary"]
    assert since["back"] == since["promoted"] == since["rolled back"]


def test_a_scheduler_killed_in_training_is_started_again_and_the_life_cycle_ends_well(story: Story) -> None:
    assert story.seen.states["second"] == "success"
    assert max(attempt for task, attempt in story.seen.attempts.items() if task.startswith("train")) >= 2


def test_no_request_fails_but_while_the_server_itself_is_dead(story: Story) -> None:
    back = story.seen.killed_at + story.seen.seconds["server back after"] + 1
    assert [(at, what) for at, what in story.load.failures if not story.seen.killed_at <= at <= back] == []
    assert story.seen.seconds["server back after"] < BACK_S
    assert len(story.load.acknowledged) > 1000


def test_every_acknowledged_prediction_is_in_the_store(story: Story) -> None:
    stored = set(story.project.sql("SELECT id FROM predictions"))
    assert set(story.load.acknowledged) - stored == set()


def test_no_container_ran_out_of_memory(project: Project) -> None:
    ended = {name: each["State"] for name, each in project.containers().items()}
    assert {name for name, state in ended.items() if state["OOMKilled"]} == set()


def test_every_panel_of_the_dashboard_has_something_to_show(story: Story, project: Project) -> None:
    """But the one that shows what must not be."""
    span = {"start": story.began, "end": time.time(), "step": 5}
    empty = [
        panel["title"]
        for panel in json.loads((ROOT / "docker/grafana/dashboards/serving.json").read_text())["panels"]
        for target in panel["targets"]
        if not project.prometheus("query_range", query=target["expr"], **span)["result"]
    ]
    assert empty == ["Rows that a model failed on"]


def test_prometheus_understands_every_alert_and_none_is_raised(project: Project) -> None:
    (group,) = project.prometheus("rules")["groups"]
    found = {rule["name"]: (rule["health"], rule["state"]) for rule in group["rules"]}
    assert found
    assert {name: said for name, said in found.items() if said != ("ok", "inactive")} == {}


def test_status_shows_the_containers_and_where_the_loop_stands(project: Project) -> None:
    lines = loop(project, "status").splitlines()
    found = {words[0]: words[1:] for words in map(str.split, lines) if words}
    assert found["serving"] == [project.url("LOOP_SERVING_PORT"), "healthy"]
    assert found["airflow-scheduler"] == ["healthy"]
    assert found["champion"][:2] == ["version", "1:"]
    assert {"setup", "databases", "airflow-migrate"} & set(found) == set()


def test_the_champion_becomes_an_image_and_comes_back_from_a_registry_the_same(
    project: Project, tmp_path: Path
) -> None:
    reader = ReleaseReader(project.url("LOOP_MLFLOW_PORT"), "flights")
    with registry.running(tmp_path) as address:
        name = f"{address}/closed-loop/flights:1"
        image = {"LOOP_IMAGE": name.rpartition(":")[0]}
        assert loop(project, "image", "build", "1", **image) == f"Made {name}"
        built = inspect(name)
        said = loop(project, "image", "push", "1", **image)
        reference = f"{image['LOOP_IMAGE']}@{said.rpartition(' ')[2]}"
        docker("image", "rm", name)
        assert built["Id"] not in docker("image", "ls", "--all", "--quiet", "--no-trunc")
        docker("pull", "--quiet", reference)
        pulled = inspect(reference)
        docker("image", "rm", reference)
    assert said == f"Pushed {name}: {reference.partition('@')[2]}"
    assert pulled["Id"] == built["Id"]
    assert labels("1", reader.tags("1")).items() <= pulled["Config"]["Labels"].items()
    assert all(labels("1", reader.tags("1")).values())


def test_a_second_up_goes_on_where_the_first_ended(
    story: Story, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    key, count = project.secret("LOOP_SERVING_KEY"), project.sql("SELECT count(*) FROM predictions")
    project.down()
    assert project.containers() == {}
    story.seen.seconds["healthy again"] = project.up()
    assert project.secret("LOOP_SERVING_KEY") == key
    assert project.sql("SELECT count(*) FROM predictions") == count
    assert story.wait("the champion answers", lambda: project.release(key).get("champion")) == "1"
    with capsys.disabled():
        print(figures(story))


def test_down_with_volumes_leaves_nothing(project: Project) -> None:
    project.down("--volumes")
    assert (project.containers(), project.volumes()) == ({}, [])


def loop(project: Project, *words: str, **settings: str) -> str:
    """What the command line says on this machine, beside the stack."""
    env = os.environ | {"COMPOSE_PROJECT_NAME": NAME, "LOOP_MLFLOW_URL": project.url("LOOP_MLFLOW_PORT")} | settings
    command = [sys.executable, "-m", "pipeline.cli", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def figures(story: Story) -> str:
    """What was measured, in words."""
    taken = "\n".join(f"  {what:<18} {seconds:6.1f} s" for what, seconds in story.seen.seconds.items())
    used = "\n".join(
        f"  {moment:<18} {sum(mb.values()):6.0f} MB: {', '.join(f'{name} {n:.0f}' for name, n in sorted(mb.items()))}"
        for moment, mb in story.seen.memory_mb.items()
    )
    return f"\n{taken}\n{used}\n  acknowledged       {len(story.load.acknowledged):6} predictions"


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def inspect(image: str) -> dict[str, Any]:
    return dict(json.loads(docker("image", "inspect", image))[0])
