"""Clients that ask without pause, single rows and batches, and write down what they were promised."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.drills.ground import Ground

PATIENCE_S = 30.0


class Clients:
    """`with Clients(ground, port, singles=3, batches=1):` ... They go on through refusals and broken connections."""

    def __init__(
        self, ground: Ground, port: int, singles: int = 3, batches: int = 1, rows: tuple[int, int] = (1, 300)
    ) -> None:
        self._ground, self._port, self._rows, self._stopping = ground, port, rows, threading.Event()
        asks: list[Callable[[http.client.HTTPConnection, random.Random], None]] = [self._single] * singles
        asks += [self._batch] * batches
        seeds = [random.Random(ground.random.random()) for _ in asks]
        each = zip(asks, seeds, strict=True)
        self._threads = [threading.Thread(target=self._run, args=pair, daemon=True) for pair in each]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S + 5)

    def _run(self, ask: Callable[[http.client.HTTPConnection, random.Random], None], chance: random.Random) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        while not self._stopping.is_set():
            try:
                ask(connection, chance)
            except (OSError, http.client.HTTPException):
                self._ground.ledger.note_break()
                connection.close()
                self._stopping.wait(0.02)
        connection.close()

    def _single(self, connection: http.client.HTTPConnection, _chance: random.Random) -> None:
        answer = self._ask(connection, "/predict", self._ground.fresh_row())
        if answer:
            self._ground.ledger.note([answer])

    def _batch(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        rows = [self._ground.fresh_row() for _ in range(chance.randint(*self._rows))]
        answer = self._ask(connection, "/predict/batch", {"rows": rows})
        if answer:
            self._ground.ledger.note(answer["predictions"])

    def _ask(self, connection: http.client.HTTPConnection, path: str, content: Any) -> Any:
        """The answer, or None when it was refused."""
        connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            return json.loads(body)
        self._ground.ledger.note_refusal(response.status, response.getheader("Retry-After"), body.decode())
        time.sleep(0.01)
        return None
