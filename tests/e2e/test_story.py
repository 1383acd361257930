"""The story, the load and the judge together, on the fake cluster: real model servers in its pods, a real registry, the
real deploy target, and a Service that gives each new connection to a ready pod.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from typer.testing import CliRunner

import problems
from core.registry import Registry
from pipeline.cli import app
from pipeline.deploy import deploy
from tests.e2e import judge
from tests.e2e.judge import Second
from tests.e2e.story import Story
from tests.kubernetes_api.cluster import FakeCluster, canary, deployment
from tests.kubernetes_api.controller import is_ready
from tests.serving.models import bundle
from tests.serving.process import ServerProcess

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(600)]
LOAD = Path(__file__).parent / "load.py"
SPEC = problems.load("flights").spec
HOLD_S = 2.0


class Pods:
    """What pods run: server processes."""

    def __init__(self, folder: Path, **places: str) -> None:
        self._folder, self._places = folder, places
        self.running: dict[str, ServerProcess] = {}

    def __call__(self, environment: Mapping[str, str], ip: str, port: int) -> ServerProcess:
        pinned = {
            name: environment[f"LOOP_{name.upper()}"]
            for name in ("version", "role")
            if f"LOOP_{name.upper()}" in environment
        }
        home = self._folder / ip / "home"
        home.parent.mkdir(parents=True, exist_ok=True)
        self.running[ip] = ServerProcess(
            home, self._places["mlflow_url"], self._places["store_url"], port=port, host=ip, **pinned
        )
        return self.running[ip]


class Service:
    """Gives each connection to one of the pods that are ready at that moment."""

    def __init__(self, fake: FakeCluster) -> None:
        self._fake = fake
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        place = urlparse(random.choice(self._fake.service()))
        with suppress(OSError), client, socket.create_connection((place.hostname, place.port)) as pod:
            back = threading.Thread(target=pump, args=(pod, client), daemon=True)
            back.start()
            pump(client, pod)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Here:
    """The fake cluster, as the story sees a cluster."""

    def __init__(self, fake: FakeCluster, pods: Pods) -> None:
        self.fake, self._pods = fake, pods

    def now(self) -> float:
        return time.time()

    def loop(self, *words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, f"{words}: {done.output} {done.exception}"
        return str(done.output)

    def served(self) -> list[str | None]:
        return [pin(pod) if is_ready(pod) else None for pod in self._all()]

    def delete_a_pod(self) -> None:
        name = self._all()[0]["metadata"]["name"]
        self.fake.store.change("pods", name, lambda pod: pod["metadata"].update(deletionTimestamp="now"), "kubectl")
        while name in [pod["metadata"]["name"] for pod in self._all()]:
            time.sleep(0.05)

    drain = delete_a_pod  # an evicted pod is told to end, too

    def kill_a_server(self) -> None:
        self._pods.running[self._all()[0]["status"]["podIP"]].process.kill()
        self.delete_a_pod()

    def _all(self) -> list[dict[str, Any]]:
        return list(self.fake.store.list("pods"))


def pin(pod: dict[str, Any]) -> str | None:
    environment = {item["name"]: item.get("value") for item in pod["spec"]["containers"][0]["env"]}
    return environment.get("LOOP_VERSION")


class Careless(Here):
    """Its nodes end pods without letting them finish."""

    def delete_a_pod(self) -> None:
        self._pods.running[self._all()[0]["status"]["podIP"]].process.kill()
        time.sleep(1)
        super().delete_a_pod()

    drain = delete_a_pod


@pytest.fixture
def pods(own_mlflow_url: str, tmp_path: Path) -> Pods:
    return Pods(tmp_path / "pods", mlflow_url=own_mlflow_url, store_url=f"sqlite:///{tmp_path / 'loop.db'}")


@pytest.fixture
def fake(own_mlflow_url: str, tmp_path: Path, pods: Pods, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    """Two versions, the first one released."""
    made = FakeCluster(tmp_path, pods)
    made.create(deployment())
    made.create(canary())
    for name, value in {"MLFLOW_URL": own_mlflow_url, "TARGET": "kubernetes", "HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(f"LOOP_{name}", value)
    monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig))
    registry = Registry(own_mlflow_url, SPEC.name)
    for n in (1, 2):
        run = registry.lifecycle_run(str(n), {})
        registry.register(run, bundle(SPEC, tmp_path / str(n), n / 4), {})
    registry.promote("1", "test", "to begin with", {})
    deploy()
    yield made
    made.close()


@contextmanager
def load(url: str) -> Iterator[list[Second]]:
    """Runs the load; when it is over, the list has what it saw."""
    seen: list[Second] = []
    command = [sys.executable, "-c", LOAD.read_text(), url, "40"]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        yield seen
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=60)
    seen += judge.read(printed.splitlines())


def told(here: Here, whole: bool) -> tuple[Story, list[Second]]:
    service, story = Service(here.fake), Story(here, HOLD_S, lambda line: None)
    with load(service.url) as seen:
        story.tell("1", "2") if whole else story.mishaps("1")
    service.close()
    return story, seen


def test_releases_and_mishaps_lose_no_request_and_no_wrong_version_answers(fake: FakeCluster, pods: Pods) -> None:
    story, seen = told(Here(fake, pods), whole=True)
    print(judge.table(story.phases, seen))
    assert judge.faults(story.phases, seen) == []
    assert [phase.name for phase in story.phases] == [
        "version 1 alone",
        "canary",
        "canary taken away",
        "version 1 alone",
        "rolling update",
        "version 2 alone",
        "roll-back",
        "version 1 alone",
        "a pod is deleted",
        "version 1 alone",
        "a node is drained",
        "version 1 alone",
        "a server is killed",
    ]
    assert sum(sum(second.ok.values()) for second in seen) > 1000


def test_a_cluster_that_ends_servers_in_the_middle_of_a_request_is_found_out(fake: FakeCluster, pods: Pods) -> None:
    story, seen = told(Careless(fake, pods), whole=False)
    found = judge.faults(story.phases, seen)
    assert found
    assert all("a pod is deleted" in fault or "a node is drained" in fault for fault in found), found
