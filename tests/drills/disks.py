"""The server's disk is full, or its spool: it sends callers away, is not ready, and takes up where it left off."""

import os
import sqlite3
import time
from contextlib import closing

from tests.drills.clients import Clients
from tests.drills.forge import Forged, wait_until
from tests.drills.ground import Ground
from tests.drills.report import Report

CATCH_UP_S = 60.0
A_LINE, HALF_A_LINE = 1400, 700  # bytes
NO_LIMIT = -1


def full_disk(ground: Ground, full_s: float = 2.0) -> Report:
    """A limit on file sizes stands for the full disk: it tears a line, then takes not a byte, not even the store's."""
    server, wrong = ground.server(), list[str]()
    with Clients(ground, server.port):
        time.sleep(0.5)
        server.limit_file_size(_spooled(ground) + HALF_A_LINE)
        time.sleep(0.3)
        server.limit_file_size(0)
        wrong += _sent_away(ground, server, full_s)
        server.limit_file_size(NO_LIMIT)
        server.ready()
        answered = len(ground.ledger.acknowledged)
        time.sleep(1)
    return _after(ground, server, "disk full: a torn line, then not a byte", answered, wrong)


def full_spool(ground: Ground, full_s: float = 2.0) -> Report:
    """The store is locked until the spool holds all it may."""
    server, wrong = ground.server(LOOP_SPOOL_MB="4"), list[str]()
    store = sqlite3.connect(ground.store_url.removeprefix("sqlite:///"), isolation_level=None)
    with closing(store), Clients(ground, server.port, rows=(300, 300)):
        store.execute("BEGIN EXCLUSIVE")
        full = server.metric("serving_spool_limit_bytes") - A_LINE
        wait_until(lambda: server.metric("serving_spool_bytes") > full, CATCH_UP_S, "the spool is full")
        wrong += _sent_away(ground, server, full_s)
        store.execute("ROLLBACK")
        server.ready()
        answered = len(ground.ledger.acknowledged)
        time.sleep(1)
    return _after(ground, server, "spool full: 4 MB, the store locked", answered, wrong)


def _sent_away(ground: Ground, server: Forged, seconds: float) -> list[str]:
    """What is wrong while nothing can be kept."""
    time.sleep(seconds / 2)
    before = len(ground.ledger.acknowledged)
    time.sleep(seconds / 2)
    answer = server.get("/readyz")
    state = (answer.status_code, "spool" in str(answer.json()["reason"]), server.metric("serving_spool_full"))
    wrong = [] if state == (503, True, 1) else [f"it does not say that it is full: {answer.text}, {state}"]
    if len(ground.ledger.acknowledged) > before:
        wrong.append("it acknowledges what it cannot keep")
    if not server.metric("serving_shed_total"):
        wrong.append("serving_shed_total does not count")
    return wrong


def _after(ground: Ground, server: Forged, did: str, answered: int, wrong: list[str]) -> Report:
    if len(ground.ledger.acknowledged) <= answered:
        wrong.append("it answers nobody afterwards")
    server.wait("/readyz", CATCH_UP_S, pending_rows=0)
    rss = server.rss_mb
    server.stop()
    return Report.of(ground, did, f"sent away meanwhile, ready again; {rss:.0f} MB", wrong)


def _spooled(ground: Ground) -> int:
    """Bytes of the segment that is being written."""
    return os.stat(max(ground.spool.glob("*.jsonl"))).st_size
