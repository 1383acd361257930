"""LOOP_TARGET=docker: real life cycles, run by Airflow, end with a container of the champion's own image."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core import keys
from core.config import ROOT, settings
from core.errors import DeployError
from core.registry import Registry
from core.releases import BUNDLE, Release, ReleaseReader
from pipeline import engine as docker
from pipeline.deploy import deploy, image_target
from pipeline.deploy.target import Target
from pipeline.engine import Engine
from pipeline.stack import credentials
from pipeline.stack.ports import any_free
from pipeline.stack.services import airflow_environment
from tests.compose.project import Project
from tests.dags.conftest import run
from tests.serving.process import ServerProcess

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

IMAGE = "closed-loop-test/cycles"
CONTAINER = "closed-loop-test-cycles-champion"


@dataclass(frozen=True)
class Played:
    seen: dict[str, Any]
    places: dict[str, str]  # settings of the life cycles

    @property
    def registry(self) -> Registry:
        return Registry(self.places["LOOP_MLFLOW_URL"], "flights")


@pytest.fixture(scope="module")
def played(own_mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    Project("").compose("build", "serving", timeout_s=1500)
    home = tmp_path_factory.mktemp("cycles") / "home"
    home.mkdir()
    server = ServerProcess(home / "serving-home", own_mlflow_url, f"sqlite:///{home / 'loop.db'}")
    port = str(any_free())
    places = {"LOOP_HOME": str(home), "LOOP_MLFLOW_URL": own_mlflow_url, "LOOP_SERVING_URL": server.url}
    places |= {"LOOP_TARGET": "docker", "LOOP_IMAGE": IMAGE, "LOOP_IMAGE_PORT": port}
    places |= {"LOOP_SERVING_KEY": keys.new_key(), "LOOP_REVISION": "a revision"}
    airflow = airflow_environment(home, f"http://127.0.0.1:{any_free()}", credentials.read_or_create(home))
    env = os.environ | places | airflow | {"PYTHONPATH": str(ROOT)}
    try:
        run(env, home, "airflow", "db", "migrate")
        printed = run(env, home, "tests.compose.cycles", server.url, f"http://127.0.0.1:{port}")
        yield Played(json.loads(printed.splitlines()[-1]), places)
    finally:
        server.stop()
        clean()


@pytest.fixture
def target(played: Played, monkeypatch: pytest.MonkeyPatch) -> Target:
    """As the life cycle's last step makes it, with the image of version 2."""
    for name, value in played.places.items():
        monkeypatch.setenv(name, value)
    return image_target(settings(), reader(played), "2")


def test_each_life_cycle_ends_with_a_container_of_its_champion(played: Played) -> None:
    for version, cycle in (("1", played.seen["first"]), ("2", played.seen["second"])):
        assert set(cycle["tasks"].values()) == {"success"}
        assert cycle["serves"] == version


def test_a_broken_version_gets_no_container_and_the_champion_s_goes_on(
    played: Played, target: Target, tmp_path: Path
) -> None:
    version = broken(played.registry, tmp_path)
    with pytest.raises(DeployError, match=f"version {version} does not repeat its stored example"):
        image_target(settings(), reader(played), version).apply(Release(version, None))
    assert target.status() == Release("2", None)


def test_a_roll_back_swaps_the_container_back(played: Played, target: Target) -> None:
    played.registry.rollback("somebody", "it was better", {})
    assert deploy() == "1"
    assert target.status() == Release("1", None)


def reader(played: Played) -> ReleaseReader:
    return ReleaseReader(played.places["LOOP_MLFLOW_URL"], "flights")


def broken(registry: Registry, folder: Path) -> str:
    """Version 2 once more, with an example that it cannot repeat."""
    bundle = registry.download("2", BUNDLE, folder)
    (bundle / "example.json").write_text("{}")
    run_id = registry.lifecycle_run("broken", {})
    return registry.register(run_id, bundle, {"candidate": "broken"})


def clean() -> None:
    engine = Engine()
    for name in (CONTAINER, f"{CONTAINER}-before"):
        if found := engine.find(name):
            docker.remove(found)
    for version in ("1", "2", "3"):
        if engine.image(f"{IMAGE}:{version}"):
            engine.remove_image(f"{IMAGE}:{version}")
    subprocess.run(["docker", "volume", "rm", "-f", f"{CONTAINER}-data"], capture_output=True, check=True)
