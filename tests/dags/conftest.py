"""One play of both DAGs on real servers; every test looks at another side of what happened.

It is played as on a cluster: every task starts with an empty home and an empty folder for temporary files, which are
gone when it has ended. What tasks hand on goes through MLflow and PostgreSQL.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.config import ROOT, Settings
from core.registry import Registry
from pipeline.stack import credentials
from pipeline.stack.ports import any_free
from pipeline.stack.services import airflow_environment
from tests.serving.process import ServerProcess


@dataclass(frozen=True)
class Played:
    """What the play printed, and the places where the rest can be seen."""

    seen: dict[str, Any]
    given: Settings
    places: dict[str, str]
    server: ServerProcess

    @property
    def registry(self) -> Registry:
        return Registry(self.given.mlflow_url, "flights")


@pytest.fixture(scope="session")
def played(mlflow_url: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    from conftest import fresh_database

    home = tmp_path_factory.mktemp("dags") / "home"
    home.mkdir()
    given = Settings(
        home=home,
        mlflow_url=mlflow_url,
        database_url=fresh_database(postgres),
        dvc_remote="mlflow-artifacts:/dvc",
        reports="mlflow",
    )
    server = ServerProcess(home / "serving-home", mlflow_url, given.store_url)
    places = {
        "LOOP_HOME": str(home),
        "LOOP_MLFLOW_URL": mlflow_url,
        "LOOP_SERVING_URL": server.url,
        "LOOP_DATABASE_URL": given.database_url,
        "LOOP_DVC_REMOTE": given.dvc_remote,
        "LOOP_REPORTS": given.reports,
    }
    airflow = airflow_environment(home, f"http://127.0.0.1:{any_free()}", credentials.read_or_create(home))
    env = os.environ | places | airflow | {"PYTHONPATH": str(ROOT), "LOOP_REVISION": "a revision"}
    try:
        run(env, home, "airflow", "db", "migrate")
        printed = run(env, home, "tests.dags.play", server.url)
        yield Played(json.loads(printed.splitlines()[-1]), given, places, server)
    finally:
        server.stop()


def run(env: dict[str, str], home: Path, module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=home, env=env, capture_output=True, text=True, check=False
    )
    (home / f"{module}.log").write_text(done.stderr + done.stdout)
    assert done.returncode == 0, f"{module}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
