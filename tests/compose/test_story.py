"""`docker compose up` on a real engine: the loop closes, and goes on when what it stands on dies. Minutes long."""

import time
from collections.abc import Iterator

import pytest

from tests.compose.project import Project, running
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
    assert story.seen.releases[0]["champion"] == "1"


def test_drift_leads_to_a_retraining_and_the_server_takes_the_new_champion(story: Story) -> None:
    assert "night: retrain" in story.seen.printed
    assert story.seen.releases[1]["canary"] == "2"
    assert story.seen.releases[2]["champion"] == "2"


def test_a_scheduler_killed_in_training_is_started_again_and_the_life_cycle_ends_well(story: Story) -> None:
    assert story.seen.states["second"] == "success"
    assert max(attempt for task, attempt in story.seen.attempts.items() if task.startswith("train")) >= 2


def test_no_request_fails_but_while_the_server_itself_is_dead(story: Story) -> None:
    killed = story.seen.marks["server killed"]
    back = killed + story.seen.seconds["server back after"] + 1
    failed = [(at, what) for at, what in story.load.failures if not killed <= at <= back]
    assert failed == []
    assert story.seen.seconds["server back after"] < BACK_S
    assert len(story.load.acknowledged) > 1000


def test_every_acknowledged_prediction_is_in_the_store(story: Story) -> None:
    stored = set(story.project.sql("SELECT id FROM predictions"))
    assert set(story.load.acknowledged) - stored == set()


def test_no_container_ran_out_of_memory(project: Project) -> None:
    ended = {name: each["State"] for name, each in project.containers().items()}
    assert {name for name, state in ended.items() if state["OOMKilled"]} == set()


def test_prometheus_may_ask_the_server(project: Project) -> None:
    import httpx

    project.compose("--profile", "observability", "up", "--detach", "--wait", "prometheus")
    query, url = {"query": 'up{job="serving"}'}, f"{project.url('PROMETHEUS_PORT')}/api/v1/query"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = httpx.get(url, params=query, trust_env=False).json()["data"]["result"]
        if found and found[0]["value"][1] == "1":
            return
        time.sleep(2)
    pytest.fail(f"Prometheus says {found}")


def test_a_second_up_goes_on_where_the_first_ended(story: Story, project: Project) -> None:
    key, count = project.secret("LOOP_SERVING_KEY"), project.sql("SELECT count(*) FROM predictions")
    project.down()
    assert project.containers() == {}
    story.seen.seconds["healthy again"] = project.up()
    assert project.secret("LOOP_SERVING_KEY") == key
    assert project.sql("SELECT count(*) FROM predictions") == count
    assert story.wait("the champion answers", lambda: project.release(key).get("champion")) == "2"
    print(story.seen.seconds, story.seen.memory_mb)


def test_down_with_volumes_leaves_nothing(project: Project) -> None:
    project.down("--volumes")
    assert (project.containers(), project.volumes()) == ({}, [])
