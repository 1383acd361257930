"""Steady requests to the model server, and a line of JSON for every second: what was answered, repeated and lost.

    python load.py URL REQUESTS_A_SECOND        the API key is in LOOP_SERVING_KEY; ends on SIGTERM

The standard library alone: it is sent to its pod as text. Every other worker opens a connection for each request, the
rest keep theirs. A request that gets no answer is sent again, on a new connection, for some seconds; that is noted.
"""

import collections
import http.client
import itertools
import json
import os
import signal
import sys
import threading
import time
from typing import Any
from urllib.parse import urlparse

WORKERS = 8
TIMEOUT_S = 10
PATIENCE_S, PAUSE_S = 15, 0.3
LATEST_S = PATIENCE_S + 2 * TIMEOUT_S  # after a second, all requests that began in it have their answer
ROW = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "distance": 1400,
    "sched_dep": "2013-02-12T06:45:00-05:00",
    "sched_arr": "2013-02-12T09:31:00-06:00",
}
NUMBERS = itertools.count()
FAILURES = (OSError, http.client.HTTPException)


class Refused(http.client.HTTPException):
    """An answer, but no prediction."""


class Tally:
    """What happened to the requests that began in each second."""

    def __init__(self) -> None:
        self._seconds: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def note(self, at: float, version: str = "", again: str = "", lost: str = "") -> None:
        with self._lock:
            fresh = {"ok": collections.Counter(), "again": [], "lost": []}
            second = self._seconds.setdefault(int(at), fresh)
            second["ok"].update([version] if version else [])
            second["again"] += [again] if again else []
            second["lost"] += [lost] if lost else []

    def say(self, before: float) -> None:
        """Print, and forget, what began before this moment."""
        with self._lock:
            for at in sorted(second for second in self._seconds if second < int(before)):
                print(json.dumps({"at": at, **self._seconds.pop(at)}), flush=True)


class Worker(threading.Thread):
    def __init__(self, number: int, url: str, rate: float, tally: Tally, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._keeps = bool(number % 2)
        self._place, self._tally, self._stop_asked = urlparse(url), tally, stop
        self._every_s = WORKERS / rate
        self._next = time.monotonic() + number / rate
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self._stop_asked.wait(max(0.0, self._next - time.monotonic())):
            self._next += self._every_s
            self._ask(time.time(), json.dumps(row(next(NUMBERS))))

    def _ask(self, at: float, body: str) -> None:
        failures: list[str] = []
        while time.time() < at + PATIENCE_S:
            kind = "kept" if self._connection else "new"
            try:
                self._tally.note(at, version=self._send(body), again="; ".join(failures))
                return
            except FAILURES as error:
                failures.append(f"{kind} connection: {said(error)}")
                time.sleep(PAUSE_S)
        self._tally.note(at, lost="; ".join(failures))

    def _send(self, body: str) -> str:
        """The version that answered."""
        connection, self._connection = self._connection, None
        connection = connection or http.client.HTTPConnection(self._place.netloc, timeout=TIMEOUT_S)
        try:
            connection.request("POST", "/predict", body, headers())
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK:
                raise Refused(f"{answer.status} {content[:100]!r}")
        except FAILURES:
            connection.close()
            raise
        if self._keeps and not answer.will_close:
            self._connection = connection
        else:
            connection.close()
        return str(json.loads(content)["model_version"])


def headers() -> dict[str, str]:
    key = os.environ.get("LOOP_SERVING_KEY", "")
    return {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})


def row(n: int) -> dict[str, Any]:
    return {"flight_id": f"e2e-{time.time_ns()}-{n}", "flight": f"UA{1000 + n % 500}", **ROW}


def said(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()


def main(url: str, rate: str) -> None:
    tally, stop = Tally(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    workers = [Worker(number, url, float(rate), tally, stop) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    while not stop.wait(1):
        tally.say(time.time() - LATEST_S)
    for worker in workers:
        worker.join()
    tally.say(time.time() + 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
