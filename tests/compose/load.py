"""Steady requests to the published port, each noted: what was acknowledged, and what failed when."""

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.load import ROW  # of a day outside of what the monitor looks at

EVERY_S = 0.05


@dataclass
class Load:
    """A thread. Use it with `with`."""

    url: str
    key: str
    acknowledged: list[str] = field(default_factory=list)  # prediction ids
    failures: list[tuple[float, str]] = field(default_factory=list)  # (seconds of time.monotonic, what)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        numbers = itertools.count()
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False) as http:
            while not self._ended.wait(EVERY_S):
                self._ask(http, next(numbers))

    def _ask(self, http: httpx.Client, n: int) -> None:
        try:
            answer = http.post("/predict", json=row(n))
        except httpx.TransportError as error:
            self.failures.append((time.monotonic(), type(error).__name__))
            return
        if answer.is_success:
            self.acknowledged.append(answer.json()["prediction_id"])
        else:
            self.failures.append((time.monotonic(), f"{answer.status_code} {answer.text[:100]}"))


def row(n: int) -> dict[str, Any]:
    """The flight's number varies, so that a canary gets its share."""
    return {"flight_id": f"load-{time.time_ns()}-{n}", "flight": f"UA{1000 + n % 500}", **ROW}
