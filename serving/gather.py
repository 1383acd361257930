"""Rows of requests that have arrived at the same time are answered together, as one micro-batch.

There is no timer: once a turn of the event loop brings nobody new, those who are there are answered, and a request that
comes alone is a batch of one. What an answer is, stands in the function that is given. Not thread-safe: it belongs to
one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from serving.parsing import Row
from serving.replies import Refused, unavailable

MOST = 128  # rows of one micro-batch: some milliseconds, in which nobody else is answered
WAITING = 2048  # rows that wait at most; beyond them requests are sent away
Answers = Callable[[list[Row]], list[Any]]


class Gather:
    """`answer` takes rows of different callers, and returns for each its answer or the exception that is its own.

    When it raises Refused, that is about the server, and every caller is told. When it raises anything else, one of
    the rows may be to blame: each is asked about alone, so that nobody pays for another's row. `shed` is told why
    somebody was sent away.
    """

    def __init__(
        self, answer: Answers, most: int = MOST, waiting: int = WAITING, shed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._answer, self._most, self._limit, self._shed = answer, most, waiting, shed
        self._waiting: deque[tuple[Row, asyncio.Future[Any]]] = deque()

    def ask(self, row: Row) -> asyncio.Future[Any]:
        """The answer for this row, what the answering raised, or Refused when too many wait already."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if len(self._waiting) >= self._limit:
            self._shed("requests")
            future.set_exception(unavailable("too many requests at once"))
            return future
        if not self._waiting:
            loop.call_soon(self._turn, 0)
        self._waiting.append((row, future))
        return future

    def _turn(self, before: int) -> None:
        """Once a turn of the loop while rows wait; `before`: how many there were in the turn before."""
        if before < len(self._waiting) < self._most:
            asyncio.get_running_loop().call_soon(self._turn, len(self._waiting))
        else:
            self._flush()

    def _flush(self) -> None:
        asked = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn, 0)
        for (_, future), answer in zip(asked, self._answers([row for row, _ in asked]), strict=True):
            _tell(future, answer)

    def _answers(self, rows: list[Row]) -> list[Any]:
        try:
            return self._answer(rows)
        except Refused as error:
            return [error] * len(rows)
        except Exception as error:  # noqa: BLE001  whatever it is, it becomes the answer of one caller
            return [error] if len(rows) == 1 else [self._answers([row])[0] for row in rows]


def _tell(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():  # its caller is gone
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
