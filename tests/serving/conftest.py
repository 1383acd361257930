"""Tiny models, a stand-in registry, and real server processes that are gone after the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import problems
from core.schema import ProblemSpec
from tests.serving.models import bundle
from tests.serving.process import ServerHere, ServerProcess
from tests.serving.registry import FakeRegistry
from tests.serving.toys import Toy

Launch = Callable[..., ServerProcess]
Start = Callable[..., ServerHere]
Serve = Callable[..., ServerHere]
PROBABILITY = {"1": 0.25, "2": 0.75}


@pytest.fixture(scope="session")
def spec() -> ProblemSpec:
    return problems.load("flights").spec


@pytest.fixture(scope="session")
def bundles(spec: ProblemSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By version: 1 and 2 answer 0.25 and 0.75; those named by a fault (tests.serving.models) answer 0.75."""
    folder = tmp_path_factory.mktemp("bundles")
    good = {version: bundle(spec, folder / version, p) for version, p in PROBABILITY.items()}
    return good | {fault: bundle(spec, folder / fault, 0.75, fault) for fault in ("raise", "nan", "slow")}


@pytest.fixture
def registry(bundles: dict[str, Path]) -> Iterator[FakeRegistry]:
    """All bundles registered, version 1 released."""
    fake = filled(bundles)
    yield fake
    fake.close()


@pytest.fixture
def launch(tmp_path: Path, registry: FakeRegistry) -> Iterator[Launch]:
    """Start a server process, ready unless told otherwise. All share the test's home and registry."""
    started: list[ServerProcess] = []

    def start(ready: bool = True, **places: Any) -> ServerProcess:
        started.append(ServerProcess(tmp_path / "home", registry.url, **places))
        if ready:
            started[-1].ready()
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def start(tmp_path: Path, registry: FakeRegistry) -> Iterator[Start]:
    """The same in this process, which is faster."""
    started: list[ServerHere] = []

    def make(ready: bool = True, **more: Any) -> ServerHere:
        started.append(ServerHere(tmp_path / "home", registry.url, **more))
        if ready:
            started[-1].ready()
        return started[-1]

    yield make
    for server in started:
        server.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A server of a toy problem, in this process; the second bundle is a canary for all."""
    opened: list[tuple[FakeRegistry, ServerHere]] = []

    def make(toy: Toy, *bundles: Path) -> ServerHere:
        registry = FakeRegistry(toy.spec.name)
        for version, folder in enumerate(bundles, 1):
            registry.register(str(version), folder)
        registry.release("1", "2" if bundles[1:] else None, 100)
        server = ServerHere(tmp_path / "home", registry.url, toy)
        opened.append((registry, server))
        server.ready()
        return server

    yield make
    for registry, server in opened:
        server.kill()
        registry.close()


@pytest.fixture(scope="session")
def running(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that only ask and change nothing."""
    fake = filled(bundles)
    server = ServerProcess(tmp_path_factory.mktemp("running") / "home", fake.url)
    server.ready()
    yield server
    server.kill()
    fake.close()


def filled(bundles: dict[str, Path]) -> FakeRegistry:
    fake = FakeRegistry("flights")
    for version, folder in bundles.items():
        fake.register(version, folder)
    fake.release("1")
    return fake
