"""A server with LOOP_VERSION serves exactly that version, as LOOP_ROLE, or nothing; and says why."""

from pathlib import Path

import pytest
from sqlalchemy import select

import problems
from core.config import Settings
from core.database import connect
from core.errors import ConfigError
from core.predictions import PREDICTIONS
from core.releases import Release
from core.schema import ProblemSpec
from serving.app import create_app
from serving.pin import Pin
from serving.schemas import example
from tests.serving.conftest import PROBABILITY, Start
from tests.serving.models import FAULT_ABOVE, trigger
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry


def answers(server: ServerHere, spec: ProblemSpec) -> tuple[float, str, str]:
    found = server.post("/predict", example(spec)).json()
    return found["probability"], found["model_version"], found["role"]


def logged(tmp_path: Path) -> dict[str, dict[str, object]]:
    """The prediction log, by role."""
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        return {row["role"]: dict(row) for row in connection.execute(select(PREDICTIONS)).mappings()}


def test_a_pinned_server_keeps_its_version_whichever_is_champion(
    start: Start, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    server = start(version="2")
    assert answers(server, spec) == (PROBABILITY["2"], "2", "champion")
    registry.release("2", "1", 100)
    server.wait("/readyz", ready=True, reason=None)
    registry.release("1", "raise", 100)
    assert server.wait("/release", champion="2", canary=None)["loaded"] == ["2"]
    assert answers(server, spec) == (PROBABILITY["2"], "2", "champion")


def test_a_pinned_server_follows_the_shadow(start: Start, registry: FakeRegistry) -> None:
    server = start(version="1")
    registry.release("1", "2", shadow=True)
    server.wait("/release", champion="1", shadow="2", loaded=["1", "2"])
    registry.release("1")
    server.wait("/release", champion="1", shadow=None)


def test_a_server_pinned_as_canary_answers_everything_and_is_logged_as_the_canary(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    registry.release("1", "2", 5)
    server = start(version="2", role="canary")
    assert answers(server, spec) == (PROBABILITY["2"], "2", "canary")
    found = server.get("/release").json()
    assert (found["champion"], found["canary"], found["percent"]) == ("1", "2", 100.0)
    server.stop()
    rows = logged(tmp_path)
    assert set(rows) == {"canary"}
    assert (rows["canary"]["model_version"], rows["canary"]["score"]) == ("2", PROBABILITY["2"])


def test_a_canarys_server_may_be_for_a_share_of_the_entities_only(start: Start, spec: ProblemSpec) -> None:
    server = start(version="2", role="canary", canary_percent=20)
    rows = [example(spec) | {spec.id: f"event {i}", spec.entity: f"entity {i}"} for i in range(2000)]
    found = [answer["role"] for answer in server.post("/predict/batch", {"rows": rows}).json()["predictions"]]
    assert set(found) == {"champion", "canary"}
    assert found.count("canary") / 2000 == pytest.approx(0.2, abs=0.04)


def test_the_champion_answers_what_the_canarys_own_server_cannot(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    server = start(version="raise", role="canary")
    row = example(spec) | {trigger(spec): FAULT_ABOVE + 1}
    found = server.post("/predict", row).json()
    assert (found["probability"], found["model_version"], found["role"]) == (PROBABILITY["1"], "1", "champion")
    server.stop()
    assert logged(tmp_path)["canary"]["error"]


def test_a_canary_that_was_promoted_answers_as_champion(
    start: Start, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    server = start(version="2", role="canary")
    registry.release("2")
    server.wait("/release", champion="2", canary=None, loaded=["2"])
    assert answers(server, spec) == (PROBABILITY["2"], "2", "champion")


@pytest.mark.parametrize("role", ["champion", "canary"])
def test_a_version_that_is_not_there_is_not_replaced_by_another(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, role: str
) -> None:
    server = start(ready=False, version="999", role=role)
    assert "version 999 is refused: version 999: the registry has no such version of flights" in (
        server.wait_reason("999")
    )
    assert server.get("/readyz").status_code == 503
    refused = server.post("/predict", example(spec))
    assert (refused.status_code, "no such version" in refused.text) == (503, True)
    assert server.get("/release").json()["refused"].keys() == {"999"}


@pytest.mark.parametrize("role", ["champion", "canary"])
def test_a_version_whose_files_were_changed_is_never_ready(start: Start, registry: FakeRegistry, role: str) -> None:
    registry.bundles["2"] = registry.bundles["1"]
    server = start(ready=False, version="2", role=role)
    assert "do not match the digest" in server.wait_reason("version 2 is refused")
    assert server.get("/readyz").status_code == 503


def test_without_a_registry_it_serves_its_version_from_the_cache(
    start: Start, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    start(version="2").stop()
    registry.up = False
    server = start(version="2")
    assert server.get("/readyz").json()["registry_reachable"] is False
    assert answers(server, spec) == (PROBABILITY["2"], "2", "champion")


def test_without_a_registry_it_does_not_serve_what_another_pin_left_in_the_cache(
    start: Start, registry: FakeRegistry
) -> None:
    start(version="1").stop()
    registry.up = False
    server = start(ready=False, version="2")
    server.wait_reason("MLflow answered 404")
    assert server.get("/readyz").status_code == 503
    assert server.get("/release").json()["loaded"] == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"version": "1", "model": "/model"}, "LOOP_MODEL and LOOP_VERSION"),
        ({"role": "canary"}, "LOOP_ROLE=canary needs LOOP_VERSION"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        create_app(problems.load("flights"), Settings(home=tmp_path, **settings), reader=StubReader())


class StubReader:
    def release(self) -> Release:
        return Release(None, None)

    def fetch(self, version: str, folder: Path, names: tuple[str, ...] = ()) -> Path:
        raise AssertionError


@pytest.mark.parametrize(
    ("pin", "found", "served"),
    [
        (Pin(), Release("1", "2", 5), Release("1", "2", 5)),
        (Pin("3"), Release("1", "2", 5), Release("3", None)),
        (Pin("3"), Release(None, None), Release("3", None)),
        (Pin("3"), Release("1", "2", shadow=True), Release("3", "2", shadow=True)),
        (Pin("2"), Release("1", "2", shadow=True), Release("2", None)),
        (Pin("2", "canary"), Release("1", "2", 5), Release("1", "2", 100)),
        (Pin("2", "canary", 15), Release("1", "2", 5), Release("1", "2", 15)),
        (Pin("2", "canary"), Release("1", "3", shadow=True), Release("1", "2", 100)),
        (Pin("2", "canary"), Release("2", None), Release("2", None)),
    ],
)
def test_the_pin_says_what_the_registrys_release_means_here(pin: Pin, found: Release, served: Release) -> None:
    assert pin.of(found) == served
    assert pin.of(served) == served
