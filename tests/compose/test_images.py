"""The images, looked into; images of single versions, and the target that runs them. They need a Docker engine."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from core import keys
from core.errors import DeployError, ModelRefused
from core.releases import Release, ReleaseReader
from core.runtime import digest
from pipeline import engine as docker
from pipeline.deploy.docker import DockerTarget
from pipeline.engine import Engine
from pipeline.image import Baker, labels
from pipeline.stack.ports import any_free
from problems import load
from tests.compose.project import Project
from tests.pipeline.target import BETTER, BROKEN, GOOD, PROMISES, Ground, registry
from tests.serving.models import bundle
from tests.serving.registry import FakeRegistry

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

BASE, SERVING = "python:3.11-slim-bookworm", "closed-loop/serving:local"
MOST_MB = 250
HEAVY = ("pandas", "sklearn", "torch", "airflow", "mlflow", "pyarrow", "evidently")
REPOSITORY = "closed-loop-test/flights"
LOOK = f"import importlib.util; print([n for n in {HEAVY} if importlib.util.find_spec(n)])"


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    Project("").compose("build", "serving", timeout_s=1500)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """What is built stands until the last test: a version's files are the same in all of them."""
    engine = Engine()
    yield engine
    for version in (GOOD, BETTER, BROKEN):
        if engine.image(f"{REPOSITORY}:{version}"):
            engine.remove_image(f"{REPOSITORY}:{version}")


def run(*command: str) -> str:
    safe = ("--rm", "--read-only", "--network=none", "--cap-drop=ALL", "--entrypoint", command[0])
    done = subprocess.run(["docker", "run", *safe, SERVING, *command[1:]], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def size_mb(name: str) -> float:
    inspected = subprocess.run(["docker", "image", "inspect", name], capture_output=True, text=True, check=True)
    return float(json.loads(inspected.stdout)[0]["Size"] / 1e6)


def test_the_serving_image_is_small_and_holds_nothing_of_training() -> None:
    assert size_mb(SERVING) - size_mb(BASE) <= MOST_MB
    assert run("python", "-c", LOOK) == "[]"


def test_the_serving_image_runs_under_a_number_without_rights() -> None:
    assert run("id", "-u") == "10001"
    assert run("sh", "-c", "touch /app/x 2>/dev/null || echo refused") == "refused"


# images of single versions -------------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeRegistry]:
    fake = registry(tmp_path)
    yield fake
    fake.close()


@pytest.fixture
def baker(engine: Engine, fake: FakeRegistry) -> Baker:
    return Baker(engine, ReleaseReader(fake.url, "flights"), REPOSITORY)


def test_an_image_says_what_it_holds(baker: Baker, engine: Engine, fake: FakeRegistry) -> None:
    name = baker.build(GOOD)
    image = engine.image(name)
    assert image is not None
    assert {**image.labels, **labels(GOOD, {"digest": fake.digests[GOOD]})} == image.labels
    assert baker.build(GOOD) == name  # it stands


def test_a_model_that_does_not_answer_gets_no_name(baker: Baker, engine: Engine) -> None:
    with pytest.raises(DeployError, match="does not repeat its stored example"):
        baker.build(BROKEN)
    assert engine.image(baker.name(BROKEN)) is None


def test_a_name_is_never_given_to_another_model(baker: Baker, fake: FakeRegistry, tmp_path: Path) -> None:
    baker.build(GOOD)
    fake.register(GOOD, bundle(load("flights").spec, tmp_path / "other", prediction=0.9))
    assert fake.digests[GOOD] == digest(tmp_path / "other")
    with pytest.raises(DeployError, match="holds another model"):
        baker.build(GOOD)


def test_a_version_that_the_registry_does_not_have_is_an_error(baker: Baker) -> None:
    with pytest.raises(ModelRefused, match="no version 9"):
        baker.build("9")


def test_an_image_that_was_not_built_cannot_be_pushed(baker: Baker) -> None:
    with pytest.raises(DeployError, match="loop image build 9"):
        baker.push("9")


# the docker target ----------------------------------------------------------------------------------------------------


@pytest.fixture
def target(baker: Baker, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerTarget]:
    key = keys.new_key()
    monkeypatch.setenv("LOOP_SERVING_KEY", key)
    known = keys.Keys().admitted("stack", key).model_dump_json().encode()
    target = DockerTarget(engine, "closed-loop-test-champion", baker.name, any_free(), known)
    yield target
    for name in (target.name, f"{target.name}-before"):
        if found := engine.find(name):
            docker.remove(found)
    subprocess.run(["docker", "volume", "rm", "-f", f"{target.name}-data"], capture_output=True, check=True)


@pytest.fixture
def ground(target: DockerTarget, baker: Baker) -> Ground:
    return Ground(target, lambda version: void(baker.build(version)))


def void(_: object) -> None:
    """Only what it did counts."""


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_docker_target_keeps_its_promises(promise: Callable[[Ground], None], ground: Ground) -> None:
    promise(ground)


def test_the_old_container_comes_back_when_the_new_one_fails_in_its_place(
    ground: Ground, target: DockerTarget, engine: Engine
) -> None:
    ground.apply(GOOD)
    unreachable = DockerTarget(engine, target.name, target.image, target.port, keys=b'{"keys": []}')
    ground.release(BETTER)
    with pytest.raises(DeployError, match="no API key"):
        unreachable.apply(Release(BETTER, None))
    ready = httpx.get(f"{target.url}/readyz", timeout=20)
    assert ready.is_success
    assert target.status() == Release(GOOD, None)
