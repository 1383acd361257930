"""The prediction store is stopped, locked, slow or silent: the server answers all the same, says so, and catches up."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx

from tests.drills.clients import Clients
from tests.drills.forge import Forged, wait_until
from tests.drills.ground import Ground
from tests.drills.postgres import Wire, postgres
from tests.drills.report import Report

CATCH_UP_S = 60.0
SLOWEST_S = 2.0  # an answer while the store is in trouble, on a busy machine


def stopped_postgres(ground: Ground, down_s: float = 4.0) -> Report:
    with postgres() as store:
        ground.store_url = store.database()

        @contextmanager
        def stopped() -> Iterator[None]:
            store.stop()
            yield
            store.start()

        return _in_trouble(ground, "PostgreSQL stopped and started", stopped, down_s, says_so=True)


def silent_postgres(ground: Ground, down_s: float = 4.0, delay_s: float = 0.3) -> Report:
    """First slow, then silent: connections stay open and nothing comes back."""
    with postgres() as store, closing(Wire(store.database())) as wire:
        ground.store_url = wire.url

        @contextmanager
        def silent() -> Iterator[None]:
            wire.delay_s = delay_s
            time.sleep(down_s / 2)
            wire.dead = True
            yield
            wire.delay_s, wire.dead = 0.0, False

        return _in_trouble(ground, f"PostgreSQL slow ({delay_s:g} s a packet), then silent", silent, down_s)


def locked_sqlite(ground: Ground, down_s: float = 4.0) -> Report:
    path = ground.store_url.removeprefix("sqlite:///")

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    return _in_trouble(ground, "SQLite locked", locked, down_s)


def _in_trouble(
    ground: Ground, did: str, trouble: Callable[[], object], down_s: float, says_so: bool = False
) -> Report:
    """Load before, during and after the trouble; `says_so`: the store refuses, which the server can tell."""
    server, wrong = ground.server(), list[str]()
    with Clients(ground, server.port, singles=2, rows=(1, 100)):
        time.sleep(0.5)
        with trouble():  # type: ignore[attr-defined]
            slowest = _slowest_answer(ground, server, down_s)
            waiting = server.metric("serving_spool_rows")
            ready = server.get("/readyz")
            up = server.metric("serving_store_up")
    if says_so and (up or "the store takes no predictions" not in str(ready.json()["reason"])):
        wrong.append(f"it does not say that the store is down: {ready.text}, serving_store_up {up:g}")
    if ready.status_code != 200 or slowest > SLOWEST_S or not waiting:
        wrong.append(f"/readyz {ready.status_code}, slowest answer {slowest:.2f} s, {waiting:g} rows waited")
    started = time.monotonic()
    wait_until(lambda: server.metric("serving_spool_rows") == 0, CATCH_UP_S, "everything shipped")
    if not server.metric("serving_store_up"):
        wrong.append("serving_store_up stays 0")
    seen = f"{waiting:,.0f} rows waited, all shipped {time.monotonic() - started:.1f} s after; "
    server.stop()
    return Report.of(ground, did, f"{seen}slowest answer meanwhile {1000 * slowest:.0f} ms", wrong)


def _slowest_answer(ground: Ground, server: Forged, seconds: float) -> float:
    """Seconds, of answers to /predict that are asked for one after the other."""
    until, slowest = time.monotonic() + seconds, 0.0
    with httpx.Client(base_url=server.url, timeout=30) as client:
        while (started := time.monotonic()) < until:
            client.post("/predict", json=ground.fresh_row()).raise_for_status()
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.02)
    return slowest
