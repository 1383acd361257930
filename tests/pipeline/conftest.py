"""Five weeks of flights in a store and a remote of their own, and the stages run on them once."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from core import lineage
from core.config import Params, Settings
from core.database import connect
from core.lineage import Locks
from pipeline import raw
from problems import load

AS_OF = date(2013, 2, 6)
CANDIDATES = ["logistic", "hgb"]
PARAMS = Params(problem="flights", as_of=AS_OF, candidates=CANDIDATES)


@dataclass(frozen=True)
class Lake:
    """A LOOP_HOME with ingested flights, and its data version as of AS_OF."""

    home: Path
    engine: Engine
    version: dict[str, Any]

    @property
    def remote(self) -> str:
        return Settings(home=self.home).remote_url


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    home, problem = tmp_path_factory.mktemp("lake"), load("flights")
    given = Settings(home=home)
    engine = connect(given.store_url)
    days = raw.missing_days(engine, problem, *raw.window(problem.spec.split, AS_OF))
    raw.ingest(engine, problem, given.remote_url, days)
    yield Lake(home, engine, raw.data_version(engine, problem, given.remote_url, AS_OF))
    engine.dispose()


@pytest.fixture(scope="session")
def untouched(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A copy of the lake as it is before any stage has run."""
    home = tmp_path_factory.mktemp("untouched") / "home"
    shutil.copytree(lake.home, home)
    return Lake(home, lake.engine, lake.version)


def run_stages(lake: Lake, remote: str) -> Locks:
    """Every stage in its own workspace, as the DAG runs them: each gets the lock entries of those before it."""
    locks: Locks = {}
    for stage in ["validate", "features", *(f"train@{name}" for name in CANDIDATES), "evaluate", "refit"]:
        locks |= {stage: lineage.run_stage(stage, PARAMS, lake.version, locks, remote)}
    return locks


@pytest.fixture(scope="session")
def locks(lake: Lake, untouched: Lake) -> Locks:
    return run_stages(lake, lake.remote)
