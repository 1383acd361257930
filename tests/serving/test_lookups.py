"""Look-ups are read when they have changed; a store that hangs keeps nobody waiting."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from core import online
from core.database import connect
from core.schema import ProblemSpec
from serving.lookups import LookupReader
from serving.store import Store
from tests.serving.conftest import Start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "loop.db"


def observe(path: Path, spec: ProblemSpec, at: int) -> None:
    (name, about) = next(iter(spec.lookups.items()))
    row = {"key": "JFK", "available_at": at, "values": dict.fromkeys(about.values, 1.0)}
    engine = connect(f"sqlite:///{path}")
    online.write(engine, spec.name, name, [row])
    engine.dispose()


def test_what_is_new_is_read_and_nothing_else(path: Path, spec: ProblemSpec) -> None:
    reader = LookupReader(spec, Store(f"sqlite:///{path}"), patience_s=10)
    assert reader.newer(0) is None
    observe(path, spec, 1000)
    found = reader.newer(0)
    assert found is not None
    assert found.newest > 0
    assert sum(len(lookup.keys) for lookup in found.lookups.values()) == 1
    assert reader.newer(found.newest) is None


def test_a_look_that_takes_long_is_asked_for_its_result_later(path: Path, spec: ProblemSpec) -> None:
    observe(path, spec, 1000)
    reader = LookupReader(spec, Store(f"sqlite:///{path}"), patience_s=0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert reader.newer(0) is None
    until, found = time.monotonic() + 10, None
    while found is None and time.monotonic() < until:
        found = reader.newer(0)
    assert found is not None


def test_a_server_gets_ready_while_its_store_is_locked(path: Path, spec: ProblemSpec, start: Start) -> None:
    observe(path, spec, 1000)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        server = start()
        assert server.get("/release").json()["lookups_id"] == 0
    server.wait("/release", lookups_id=1)
