"""Trials from end to end: a real registry, a real server process, its store, and the judge that ends them."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

import problems
from core import predictions
from core.config import Settings
from core.database import connect
from core.errors import RegistryError
from core.registry import Registry
from core.releases import Release
from pipeline import release
from pipeline.cli import app
from pipeline.deploy import deploy
from serving.schemas import example
from tests.serving.models import FAULT_ABOVE, bundle, trigger
from tests.serving.process import ServerProcess

SPEC = problems.load("flights").spec
JOB: Any = {"lifecycle": "of the test"}
NUMBERS = itertools.count(1)
VERDICT = {"outcome": "promote", "reason": "the gate let it through"}
DAY = date(2013, 4, 1)


@dataclass(frozen=True)
class World:
    """A champion that says 0.25, served."""

    registry: Registry
    server: ServerProcess
    engine: Engine
    folder: Path
    champion: str = ""

    def version(self, prediction: float = 0.25, fault: str = "") -> str:
        """Register another model."""
        n = next(NUMBERS)
        made = bundle(SPEC, self.folder / str(n), prediction + n / 1e6, fault)
        return self.registry.register(self.registry.lifecycle_run(str(n), {}), made, {})

    def ask(self, n: int, high: float = 0.0) -> list[str]:
        """n requests of one row, by as many entities; a share, evenly, above the faults' limit. Returns events."""
        first = next(NUMBERS) * 1000
        rows = [example(SPEC) | {SPEC.id: f"event {i}", SPEC.entity: f"who {i}"} for i in range(first, first + n)]
        for i, row in enumerate(rows):
            if int((i + 1) * high) > int(i * high):
                row[trigger(SPEC)] = FAULT_ABOVE + 1
        for row in rows:
            assert self.server.post("/predict", row).status_code == 200
        return [row[SPEC.id] for row in rows]

    def mature(self, events: list[str], outcomes: list[float]) -> None:
        known = {"problem": SPEC.name, "known_on": DAY}
        predictions.add_outcomes(
            self.engine, [known | {"event_id": e, "outcome": y} for e, y in zip(events, outcomes, strict=True)]
        )

    def scored(self, version: str, n: int) -> None:
        """Wait until the store has n rows of the version."""
        ready = threading.Event()
        for _ in range(1200):
            if len(predictions.by_version(self.engine, SPEC.name, [version], 0.0)) >= n:
                return
            ready.wait(0.1)
        raise AssertionError(f"{n} rows of version {version} never came")

    def trial(self, version: str, role: str, percent: float = 50) -> None:
        if role == "shadow":
            self.registry.start_shadow(version, "test", "to see", {})
        else:
            self.registry.start_canary(version, percent, "test", "to see", {})
        deploy()

    @property
    def actions(self) -> list[tuple[str, str]]:
        return [(event.action, event.version) for event in self.registry.history()]


@pytest.fixture(scope="module")
def running(own_mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("trials")
    store = Settings(home=home).store_url
    server = ServerProcess(home / "server", own_mlflow_url, store)
    engine = connect(store)
    yield World(Registry(own_mlflow_url, SPEC.name), server, engine, home / "bundles")
    engine.dispose()
    server.kill()


@pytest.fixture
def world(running: World, own_mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """The running servers with a new champion, and nothing on trial."""
    monkeypatch.setenv("LOOP_MLFLOW_URL", own_mlflow_url)
    monkeypatch.setenv("LOOP_DATABASE_URL", running.engine.url.render_as_string())
    monkeypatch.setenv("LOOP_SERVING_URL", running.server.url)
    champion = running.version()
    running.registry.promote(champion, "test", "a new start", {})
    deploy()
    return World(running.registry, running.server, running.engine, running.folder, champion)


# what aborts ----------------------------------------------------------------------------------------------------------


def fails(world: World, role: str) -> str:
    version = world.version(fault="raise")
    world.trial(version, role)
    world.ask(60, high=0.5)
    return version


def is_slow(world: World, role: str) -> str:
    version = world.version(fault="slow")
    world.trial(version, role, percent=100)
    world.ask(20)  # judged before there are enough: by what it has when the time is up
    return version


def shifts(world: World, role: str) -> str:
    version = world.version(0.75)
    world.trial(version, role)
    world.ask(150)
    return version


def is_wrong(world: World, role: str) -> str:
    """As often high as low, like the champion on the whole, and always on the wrong side."""
    version = world.version(fault="split")
    world.trial(version, role)
    events = world.ask(300, high=0.5)
    world.mature(events, [1.0, 0.0] * 150)  # every second is high
    return version


INJECTED: dict[str, tuple[Callable[[World, str], str], int, str]] = {
    "errors": (fails, 5, "requests failed"),
    "latency": (is_slow, 20, "requests took more than"),
    "prediction shift": (shifts, 50, "mean prediction moved by 0.500, allowed 0.1"),
    "matured-label loss": (is_wrong, 100, "log_loss is worse by"),
}


@pytest.mark.parametrize("role", ["shadow", "canary"])
@pytest.mark.parametrize("what", INJECTED)
def test_a_bad_challenger_is_aborted_by_itself(
    world: World, what: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject, rows, reason = INJECTED[what]
    monkeypatch.setattr(release, "load", lambda: patient(what))
    version = inject(world, role)
    world.scored(version, rows)
    judgement = release.follow("test", lambda _: None)
    assert judgement is not None
    assert (judgement.state, reason in judgement.reason) == ("abort", True), judgement
    assert world.registry.release() == Release(world.champion, None)
    last = world.registry.history()[-1]
    assert (last.action, last.version, last.reason) == ("keep out", version, judgement.reason)
    assert last.evidence[role]["requests"] >= rows
    served = world.server.get("/release").json()
    assert (served["champion"], served["canary"], served["shadow"]) == (world.champion, None, None)
    assert served["loaded"] == [world.champion]
    event = world.ask(1)
    assert event


def patient(what: str) -> problems.Problem:
    """The slow model needs fewer requests, or the test would be as slow."""
    if what != "latency":
        return problems.Problem(SPEC)
    few = SPEC.canary.model_copy(update={"min_requests": 20})
    return problems.Problem(SPEC.model_copy(update={"canary": few}))


# what goes through ----------------------------------------------------------------------------------------------------


@contextmanager
def traffic(world: World) -> Iterator[None]:
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            world.ask(20)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    yield
    stop.set()
    sender.join()


def test_a_good_challenger_goes_through_shadow_and_canary_to_champion(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "POKE_S", 0.2)
    version, before = world.version(), len(world.actions)
    assert release.release(JOB, version, VERDICT) == "shadow"
    assert world.server.get("/release").json()["shadow"] == version
    said: list[str] = []
    with traffic(world):
        release.follow("test", said.append)
    assert world.actions[before:] == [("shadow", version), ("canary", version), ("promote", version)]
    assert world.server.get("/release").json()["champion"] == version
    assert any("of 50 shadow requests so far" in line for line in said)
    rows = predictions.by_version(world.engine, SPEC.name, [version], 0.0)
    assert [row["role"] for row in rows if row["role"] == "shadow"]
    assert {row["role"] for row in rows} >= {"shadow", "canary"}


def test_the_steps_of_the_life_cycle_may_be_repeated(world: World) -> None:
    version, before = world.version(), len(world.actions)
    for _ in range(2):
        assert release.release(JOB, version, VERDICT) == "shadow"
    assert release.leave_shadow(JOB, version)["state"] == "wait"
    world.ask(60)
    world.scored(version, 60)
    for _ in range(2):
        assert release.leave_shadow(JOB, version)["state"] == "promote"
    assert release.judged(version)["state"] == "wait"
    for _ in range(2):
        assert release.finish(JOB, version, {"state": "promote", "reason": "held", "evidence": {}}) == version
    assert world.actions[before:] == [("shadow", version), ("canary", version), ("promote", version)]
    assert release.judged(version) == {"state": "promote", "reason": "it is the champion", "evidence": {}}


def test_a_problem_without_shadow_goes_straight_to_its_canary(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SPEC.model_copy(update={"canary": SPEC.canary.model_copy(update={"shadow": False})})
    monkeypatch.setattr(release, "load", lambda: problems.Problem(plain))
    version = world.version()
    assert release.release(JOB, version, VERDICT) == "canary"
    assert release.leave_shadow(JOB, version)["state"] == "promote"
    assert world.registry.release() == Release(world.champion, version, SPEC.canary.percent)


def test_a_refused_challenger_is_kept_out(world: World) -> None:
    version = world.version()
    world.registry.challenge(version)
    assert release.release(JOB, version, {"outcome": "block", "reason": "too bad"}) == "kept out"
    assert world.registry.release() == Release(world.champion, None)


@pytest.mark.parametrize("role", ["shadow", "canary"])
def test_an_abort_by_hand_is_not_undone_by_the_life_cycle(world: World, role: str) -> None:
    version = world.version()
    world.trial(version, role)
    world.ask(120)
    world.scored(version, 40)
    assert loop("abort", "--reason", "I do not like it").exit_code == 0
    assert release.leave_shadow(JOB, version)["state"] == "promote"  # it passes on to the judge of the canary
    judgement = release.judged(version)
    assert judgement["state"] == "abort"
    assert "I do not like it" in judgement["reason"]
    for state in ("abort", "promote"):  # also when it had been judged a moment before
        assert release.finish(JOB, version, judgement | {"state": state}) == world.champion
    assert world.actions[-1] == ("keep out", version)


# by hand --------------------------------------------------------------------------------------------------------------


def loop(*words: str) -> Any:
    return CliRunner().invoke(app, ["release", *words])


def test_every_step_can_be_taken_by_hand_and_is_audited(world: World) -> None:
    version, why, before = world.version(), ("--reason", "by hand"), len(world.actions)
    assert "is in shadow" in loop("shadow", version, *why).output
    assert f"champion {world.champion}, version {version} in shadow" in loop("status").output
    assert "answers 25 % of the entities" in loop("canary", version, "--percent", "25", *why).output
    assert f"champion {world.champion}, canary {version} for 25 % of the entities" in loop("status").output
    served = world.server.get("/release").json()
    assert (served["canary"], served["percent"], served["shadow"]) == (version, 25.0, None)
    assert "is kept out" in loop("abort", *why).output
    assert "is the champion" in loop("promote", version, *why).output
    assert f"version {world.champion} is the champion" in loop("rollback", *why).output
    assert [action for action, _ in world.actions[before:]] == ["shadow", "canary", "keep out", "promote", "roll back"]
    assert {event.actor.partition(" ")[0] for event in world.registry.history()[before:]} == {"user"}
    assert "by hand" in loop("history").output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("canary", "999"), "has no version 999"),
        (("shadow", "999"), "has no version 999"),
        (("promote", "999"), "has no version 999"),
        (("canary", "CHAMPION"), "is the champion already"),
        (("abort",), "nothing to abort: no version is in shadow or canary"),
    ],
)
def test_a_wrong_command_says_why_and_changes_nothing(world: World, words: tuple[str, ...], complaint: str) -> None:
    before = len(world.actions)
    found = loop(*(world.champion if word == "CHAMPION" else word for word in words), "--reason", "by mistake")
    assert isinstance(found.exception, RegistryError)
    assert complaint in str(found.exception)
    assert len(world.actions) == before
    assert world.registry.release() == Release(world.champion, None)


def test_watching_nothing_and_a_share_beyond_everything_are_mistakes(world: World) -> None:
    assert "nothing is in shadow or canary" in str(loop("watch").exception)
    assert loop("canary", world.version(), "--percent", "101", "--reason", "?").exit_code == 2
    assert loop("canary", world.version(), "--percent", "0", "--reason", "?").exit_code == 2


def test_a_version_that_was_never_released_is_not_judged(world: World) -> None:
    with pytest.raises(RegistryError, match="was never in shadow"):
        release.judged(world.version())
