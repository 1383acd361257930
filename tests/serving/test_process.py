"""The server as a process: what it imports, how it ends, and what it keeps when it is killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from core.database import connect
from core.predictions import PREDICTIONS
from core.schema import ProblemSpec
from serving.schemas import example
from tests.serving.conftest import PROBABILITY, Launch
from tests.serving.load import Load
from tests.serving.process import ROOT
from tests.serving.registry import FakeRegistry

HEAVY = {"pandas", "sklearn", "torch", "mlflow", "airflow", "dvc", "evidently", "pipeline", "monitoring", "PIL"}


def stored(url: str) -> list[str]:
    with connect(url).connect() as connection:
        return [row.id for row in connection.execute(select(PREDICTIONS.c.id))]


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'home' / 'loop.db'}"


def test_it_imports_no_training_library(bundles: dict[str, Path], tmp_path: Path) -> None:
    code = f"""
import sys, problems, serving.__main__
from pathlib import Path
from core.config import Settings
from core.runtime import OnnxModel
from serving.app import create_app
create_app(problems.load("flights"), Settings(home={str(tmp_path)!r})).openapi()
OnnxModel.load(Path({str(bundles["1"])!r}), problems.load("flights").spec)
print(*sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(found.stdout.split())


def test_importing_it_touches_nothing(tmp_path: Path) -> None:
    code = "import serving.app, threading; print(threading.active_count())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []


def test_a_killed_server_loses_no_acknowledged_prediction_and_counts_none_twice(
    launch: Launch, spec: ProblemSpec, store_url: str
) -> None:
    port = 0
    acknowledged: set[str] = set()
    for _ in range(2):
        server = launch(port=port)
        port = server.port
        with Load(server.url, example(spec)) as load:
            time.sleep(1.0)
            server.kill()
        assert load.answers
        acknowledged |= load.ids
    last = launch(port=port)
    last.wait("/release", pending_rows=0)
    found = stored(store_url)
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    assert len(set(found) - acknowledged) <= 2 * 4  # written, and killed before the answer was sent


def test_a_stopped_server_answers_what_it_has_taken_and_ships_everything(
    launch: Launch, spec: ProblemSpec, store_url: str
) -> None:
    server = launch()
    with Load(server.url, example(spec)) as load:
        time.sleep(1.0)
        server.stop()
        time.sleep(0.1)
    assert not load.refused
    assert load.ids <= set(stored(store_url))


def test_a_store_that_is_down_delays_the_log_and_stops_nothing(
    launch: Launch, spec: ProblemSpec, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere"
    place.write_text("a file where the store's folder should be")
    url = f"sqlite:///{place / 'loop.db'}"
    server = launch(store_url=url)
    answers = server.post("/predict/batch", {"rows": [example(spec)] * 300}).json()["predictions"]
    server.wait_reason("the store takes no predictions, 300 wait")
    assert server.get("/readyz").json() | {"reason": None} == {
        "ready": True,
        "reason": None,
        "registry_reachable": True,
        "pending_rows": 300,
    }
    place.unlink()
    server.wait("/readyz", pending_rows=0)
    assert sorted(stored(url)) == sorted(answer["prediction_id"] for answer in answers)


def test_swapping_models_under_load_loses_no_request(launch: Launch, registry: FakeRegistry, spec: ProblemSpec) -> None:
    server = launch()
    with Load(server.url, example(spec)) as load:
        for champion in ("2", "1", "2", "1", "2"):
            registry.release(champion)
            server.wait("/release", champion=champion)
            time.sleep(0.1)
    assert load.broken == 0
    assert load.refused == []
    assert {answer["model_version"] for answer in load.answers} == {"1", "2"}
    assert all(answer["probability"] == PROBABILITY[answer["model_version"]] for answer in load.answers)
