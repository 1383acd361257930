"""What `make doctor` finds, and what it advises."""

import socket
from pathlib import Path

import pytest

from core.config import Settings
from pipeline import doctor
from pipeline.doctor import GB

ENGINE = {
    ("docker", "version"): "28.1.0",
    ("docker", "compose"): "2.40.3",
    ("docker", "ps"): "",
    ("docker", "info"): "/",
}


def answers(**other: str | None) -> doctor.Run:
    """An engine that says what ENGINE says, or other things to one of the words."""
    return lambda *command: other.get(command[1], ENGINE[command[:2]])


def test_a_port_that_was_asked_for_and_is_taken_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (check,) = [each for each in doctor.laptop(Settings(mlflow_port=port)) if "port" in each.what]
    assert (check.what, check.found) == (f"port {port} of mlflow", "is taken")
    assert "LOOP_MLFLOW_PORT" in check.advice


def test_ports_that_nobody_asked_for_are_not_looked_at_on_a_laptop() -> None:
    assert {each.what for each in doctor.laptop(Settings())} == {"memory", "disk"}


def test_too_little_memory_or_disk_says_how_much_is_needed(tmp_path: Path) -> None:
    assert doctor.memory(4 * GB, 3 * GB).advice == ""
    assert "3 GB are needed" in doctor.memory(2 * GB, 3 * GB).advice
    assert "are needed" in doctor.disk(tmp_path / "not there yet", 10**18).advice


def test_without_an_engine_it_says_what_to_use_instead() -> None:
    (check,) = doctor.containers({}, answers(version=None))
    assert check.found == "none answers"
    assert "make up" in check.advice


@pytest.mark.parametrize(("version", "good"), [("24.0.7", False), ("25.0.0", True), ("28.2.2", True)])
def test_an_engine_that_is_too_old_is_said_to_be(version: str, good: bool) -> None:
    assert (doctor.engine_check(answers(version=version)).advice == "") is good


def test_the_ports_of_the_stack_that_runs_are_its_own() -> None:
    looked = [each.what for each in doctor.containers({}, answers(ps="a container"))]
    assert not any("port" in what for what in looked)
    assert "disk" in looked


@pytest.mark.parametrize(
    ("profiles", "watching"), [("", False), ("demo", False), ("demo,observability", True), ("*", True)]
)
def test_the_ports_of_a_profile_are_looked_at_when_it_is_used(profiles: str, watching: bool) -> None:
    given = {"COMPOSE_PROFILES": profiles, "GRAFANA_PORT": "3333"}
    looked = {each.what for each in doctor.containers(given, answers())}
    assert {"port 8080 of airflow-api", "port 5001 of mlflow", "port 8000 of serving"} <= looked
    assert ({"port 9090 of prometheus", "port 3333 of grafana"} <= looked) is watching


def test_a_port_of_the_containers_that_is_taken_is_named_with_its_variable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"COMPOSE_PROFILES": "observability", "PROMETHEUS_PORT": str(taken.getsockname()[1])}
        (check,) = [each for each in doctor.containers(given, answers()) if "prometheus" in each.what]
    assert "PROMETHEUS_PORT" in check.advice
