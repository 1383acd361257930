"""Releases on Kubernetes from end to end: a real registry, model servers in the pods, the store that they ship to, the
judge, and the target that `deploy` calls.
"""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

import problems
from core import predictions
from core.config import Settings
from core.database import connect
from core.errors import DeployError
from core.registry import Registry
from core.releases import Release
from pipeline import release
from pipeline.cli import app
from pipeline.deploy import deploy, kubernetes_target
from serving.schemas import example
from tests.kubernetes_api.cluster import FakeCluster, canary, deployment
from tests.kubernetes_api.servers import Servers
from tests.serving.models import FAULT_ABOVE, bundle, trigger

pytestmark = pytest.mark.k8s

SPEC = problems.load("flights").spec
JOB: Any = {"lifecycle": "of the test"}
NUMBERS = itertools.count(1)
VERDICT = {"outcome": "promote", "reason": "the gate let it through"}


@dataclass(frozen=True)
class World:
    """A cluster whose tasks deploy to it."""

    fake: FakeCluster
    registry: Registry
    engine: Engine
    folder: Path

    def version(self, fault: str = "") -> str:
        """Register another model."""
        n = next(NUMBERS)
        made = bundle(SPEC, self.folder / str(n), 0.25 + n / 1e6, fault)
        return self.registry.register(self.registry.lifecycle_run(str(n), {}), made, {})

    def ask(self, n: int, high: bool = False) -> set[str]:
        """n requests through the Service, a connection each; what is `high` makes a faulty model fail. Returns the
        versions that answered.
        """
        pods, found = itertools.cycle(sorted(self.fake.service())), set()
        with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0)) as http:
            for number in itertools.islice(NUMBERS, n):
                row = example(SPEC) | {SPEC.id: f"event {number}", SPEC.entity: f"who {number}"}
                row |= {trigger(SPEC): FAULT_ABOVE + 1} if high else {}
                answer = http.post(f"{next(pods)}/predict", json=row)
                assert answer.status_code == 200
                found.add(answer.json()["model_version"])
        return found

    def scored(self, version: str, role: str, n: int) -> None:
        """Wait until the store has n rows of the version in this role."""
        ready = threading.Event()
        for _ in range(600):
            rows = predictions.by_version(self.engine, SPEC.name, [version], 0.0)
            if sum(row["role"] == role for row in rows) >= n:
                return
            ready.wait(0.1)
        raise AssertionError(f"{n} rows of version {version} as {role} never came")

    @property
    def served(self) -> dict[str, set[str | None]]:
        """Deployment -> what its pods serve."""
        pods = kubernetes_target(Settings()).pods()
        found: dict[str, set[str | None]] = {}
        for pod in pods:
            found.setdefault(pod.deployment, set()).add(pod.serves if pod.ready else None)
        return found


@pytest.fixture
def world(own_mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Before the first release, as `kubectl apply` leaves it."""
    store = f"sqlite:///{tmp_path / 'loop.db'}"
    fake = FakeCluster(tmp_path, Servers(tmp_path / "pods", own_mlflow_url, database_url=store))
    fake.create(deployment())
    fake.create(canary())
    places = {"MLFLOW_URL": own_mlflow_url, "DATABASE_URL": store, "TARGET": "kubernetes"}
    for name, value in places.items():
        monkeypatch.setenv(f"LOOP_{name}", value)
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))
    engine = connect(store)
    yield World(fake, Registry(own_mlflow_url, SPEC.name), engine, tmp_path / "bundles")
    engine.dispose()
    fake.close()


def loop(*words: str) -> Any:
    return CliRunner().invoke(app, ["release", *words])


def test_a_model_goes_from_the_gate_to_every_pod_and_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    half = SPEC.model_copy(update={"canary": SPEC.canary.model_copy(update={"percent": 50})})
    monkeypatch.setattr(release, "load", lambda: problems.Problem(half))
    first = world.version()
    assert release.release(JOB, first, VERDICT) == "champion"
    assert deploy() == first
    assert world.served == {"serving": {first}}

    second = world.version()
    assert release.release(JOB, second, VERDICT) == "shadow"
    assert {pod.shadow for pod in kubernetes_target(Settings()).pods()} == {second}
    assert world.ask(60) == {first}
    world.scored(second, "shadow", 60)
    assert release.leave_shadow(JOB, second)["state"] == "promote"

    assert world.served == {"serving": {first}, "serving-canary": {second}}
    assert release.judged(second)["state"] == "wait"
    assert world.ask(120) == {first, second}
    world.scored(second, "canary", 60)
    judgement = release.judged(second)
    assert (judgement["state"], judgement["evidence"]["canary"]["requests"]) == ("promote", 60)
    assert release.finish(JOB, second, judgement) == second
    assert deploy() == second
    assert world.served == {"serving": {second}}

    done = loop("rollback", "--reason", "I do not like it")
    assert f"version {first} is the champion" in done.output
    assert world.served == {"serving": {first}}
    assert world.ask(4) == {first}


def test_a_bad_canary_is_taken_away_by_its_judgement(world: World) -> None:
    first, bad = world.version(), world.version(fault="raise")
    world.registry.promote(first, "test", "to begin with", {})
    deploy()
    assert "answers 50 % of the entities" in loop("canary", bad, "--percent", "50", "--reason", "?").output
    assert world.served == {"serving": {first}, "serving-canary": {bad}}
    assert world.ask(60, high=True) == {first}  # what the canary fails on, the champion answers
    world.scored(bad, "canary", 20)
    judgement = release.advance(bad, "test")
    assert judgement.state == "abort"
    assert "canary requests failed" in judgement.reason
    assert world.served == {"serving": {first}}
    assert world.registry.release() == Release(first, None)


def test_a_champion_that_no_pod_can_serve_is_undone_and_the_step_fails(world: World) -> None:
    first, second = world.version(), world.version()
    world.registry.promote(first, "test", "to begin with", {})
    deploy()
    world.registry.tag(second, {"digest": "another"})
    done = loop("promote", second, "--reason", "in a hurry")
    assert isinstance(done.exception, DeployError)
    assert f"refuses version {second}" in str(done.exception)
    assert "do not match the digest" in str(done.exception)
    assert f"version {first} is back. The registry goes on naming it" in str(done.exception)
    assert world.served == {"serving": {first}}
    assert f"version {first} is the champion" in loop("rollback", "--reason", "it cannot be served").output


def test_each_pod_is_listed_with_what_it_serves(world: World) -> None:
    first = world.version()
    world.registry.promote(first, "test", "to begin with", {})
    deploy()
    lines = [line.split() for line in loop("status").output.splitlines()]
    assert [line[1:4] for line in lines[1:]] == [["serving", first, first]] * 2
