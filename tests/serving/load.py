"""Clients that ask one server without pause, and remember what it acknowledged."""

import threading
from typing import Any

import httpx


class Load:
    """`with Load(url, row) as load:` ... then `load.answers` and `load.refused`."""

    def __init__(self, url: str, row: dict[str, Any], clients: int = 4) -> None:
        self.answers: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.broken = 0  # connections that ended without an answer
        self._url, self._row, self._stopping = url, row, threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def ids(self) -> set[str]:
        return {answer["prediction_id"] for answer in self.answers}

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while not self._stopping.is_set():
                try:
                    answer = client.post("/predict", json=self._row)
                except httpx.TransportError:
                    self.broken += 1
                    self._stopping.wait(0.05)
                    continue
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.refused.append(answer.text)
