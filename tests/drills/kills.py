"""kill -9 in the middle of load, at random points, while starting too: what was acknowledged is in the store, once."""

import time

from tests.drills.clients import Clients
from tests.drills.ground import Ground
from tests.drills.report import Report

LONGEST_S = 0.6  # from ready to the kill
WHILE_STARTING = 5  # every fifth kill meets a server that may not be ready yet
STARTS_S = 0.5
CATCH_UP_S = 60.0


def kill_minus_nine(ground: Ground, times: int = 50) -> Report:
    for turn in range(times):
        _one_life(ground, starting=turn % WHILE_STARTING == WHILE_STARTING - 1)
    last = ground.server()
    last.wait("/readyz", CATCH_UP_S, pending_rows=0)
    last.stop()
    did = f"kill -9 × {times}, single rows and batches"
    return Report.of(ground, did, f"{ground.ledger.broken} connections cut")


def _one_life(ground: Ground, starting: bool) -> None:
    server = ground.server(ready=not starting)
    with Clients(ground, server.port):
        time.sleep(ground.random.uniform(0, STARTS_S if starting else LONGEST_S))
        server.kill()
