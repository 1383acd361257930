"""More load than the server can take, and callers that are slow on purpose: bounded memory, 503, and it recovers."""

import json
import socket
import threading
import time

from tests.drills.clients import Clients
from tests.drills.forge import Forged
from tests.drills.ground import Ground
from tests.drills.report import Report

SINGLES, BATCHES, ROWS = 200, 24, 10_000
HALF_BODIES, DRIPS, DEAF = 40, 300, 20  # callers that stop in a body, send a byte a second, never read
HALF = 4_000_000  # bytes
PATIENCE_S = 5.0  # instead of half a minute, for slow callers
CEILING_MB = 700.0
CATCH_UP_S = 90.0


def flood(
    ground: Ground, seconds: float = 4.0, singles: int = SINGLES, batches: int = BATCHES, rows: int = ROWS
) -> Report:
    """Hundreds of connections at once, many with large batches."""
    server, wrong = ground.server(), list[str]()
    with Watched(server) as watched, Clients(ground, server.port, singles, batches, rows=(rows, rows)):
        time.sleep(seconds)
    return _report(ground, server, f"{singles} single callers, {batches} with {rows:,} rows each", watched, wrong)


def slow_callers(ground: Ground) -> Report:
    """A byte a second, bodies that stop in the middle, answers that nobody reads; some ask properly meanwhile."""
    server, wrong = ground.server(patience_s=PATIENCE_S), list[str]()
    callers = [Drip(server.port) for _ in range(DRIPS)] + [HalfBody(server.port) for _ in range(HALF_BODIES)]
    callers += [Deaf(ground, server.port) for _ in range(DEAF)]
    with Watched(server) as watched, Clients(ground, server.port, singles=2, batches=0):
        until = time.monotonic() + 3 * PATIENCE_S
        while time.monotonic() < until:
            for caller in callers:
                caller.turn()
            time.sleep(1)
        left = server.metric("serving_connections")
    held, shed = server.metric("serving_held_bytes"), server.metric("serving_shed_total")
    if left > 10 or held:
        wrong.append(f"{left:g} connections and {held:g} bytes are still held")
    for caller in callers:
        caller.close()
    did = f"{DRIPS} callers a byte a second, {HALF_BODIES} stop in a body, {DEAF} never read"
    return _report(ground, server, did, watched, wrong, f"{shed:g} cut; ")


def _report(ground: Ground, server: Forged, did: str, watched: "Watched", wrong: list[str], seen: str = "") -> Report:
    answered = len(ground.ledger.acknowledged)
    with Clients(ground, server.port, batches=1):
        time.sleep(1)
    if len(ground.ledger.acknowledged) == answered:
        wrong.append("it answers nobody afterwards")
    if watched.most_mb > CEILING_MB:
        wrong.append(f"{watched.most_mb:.0f} MB are over the ceiling of {CEILING_MB:g}")
    server.wait("/readyz", CATCH_UP_S, pending_rows=0)
    server.stop()
    return Report.of(ground, did, f"{seen}at most {watched.most_mb:.0f} MB (ceiling {CEILING_MB:g})", wrong)


class Watched:
    """The most memory that a server had, MB."""

    def __init__(self, server: Forged) -> None:
        self.most_mb, self._server, self._stopping = 0.0, server, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(0.05):
            self.most_mb = max(self.most_mb, self._server.rss_mb)


class Slow:
    """A caller that is given a turn now and then. It sends as much of `_left` as it wants and the server takes."""

    def __init__(self, port: int, content: bytes, a_turn: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the system takes little for it
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._left, self._a_turn = memoryview(content), a_turn

    def turn(self) -> None:
        try:
            while sent := self._socket.send(self._left[: self._a_turn]):
                self._left = self._left[sent:]
                if self._a_turn == 1:
                    return
        except OSError:  # it takes no more now, or has hung up
            return

    def close(self) -> None:
        self._socket.close()


def _head(size: int, path: str = "/predict/batch") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()


class Drip(Slow):
    """A byte a turn."""

    def __init__(self, port: int) -> None:
        super().__init__(port, _head(100) + b" " * 100, 1)


class HalfBody(Slow):
    """Half of a large body, as fast as it can; then nothing more."""

    def __init__(self, port: int) -> None:
        super().__init__(port, _head(2 * HALF) + b" " * HALF, 2**20)


class Deaf(Slow):
    """Asks for ten thousand answers and reads none."""

    def __init__(self, ground: Ground, port: int) -> None:
        body = json.dumps({"rows": [ground.fresh_row() for _ in range(ROWS)]}).encode()
        super().__init__(port, _head(len(body)) + body, 2**20)
