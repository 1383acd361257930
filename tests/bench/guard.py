"""What the guard costs a request, in µs of processor time: `.venv/bin/python -m tests.bench.guard` (some seconds).

An application that answers at once is asked with and without it, in this process; the smallest of the rounds counts.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from core.keys import Keys, change, new_key
from serving.guard import Guard
from serving.keys import KeyRing

ROUNDS, REQUESTS = 15, 8000
SENT = {"host": "127.0.0.1:8000", "user-agent": "httpx", "accept": "*/*", "accept-encoding": "gzip"}
SENT |= {"connection": "keep-alive", "content-length": "420", "content-type": "application/json"}
NO_LIMIT = 1e9


def main() -> None:
    alone_us = cost_us(answer, "")
    with tempfile.TemporaryDirectory() as folder:
        nothing = KeyRing(Path(folder) / "no-such-file")
        print(f"open                    {cost_us(Guard(answer, nothing), '') - alone_us:5.2f} µs a request")
        print(f"open, rate limited      {cost_us(Guard(answer, nothing, NO_LIMIT), '') - alone_us:5.2f}")
        for n in (1, 10, 100):
            ring, key = filled(Path(folder) / f"{n}.json", n)
            print(f"{n:3} key(s), rate limited {cost_us(Guard(answer, ring, NO_LIMIT), key) - alone_us:5.2f}")


def filled(path: Path, n: int) -> tuple[KeyRing, str]:
    """A file of n keys, and the one in the middle."""
    made = [new_key() for _ in range(n)]
    keys = Keys()
    for i, key in enumerate(made):
        keys = keys.added(f"caller{i}", key, ["predict"])
    change(path, lambda _: keys)
    return KeyRing(path), made[n // 2]


def cost_us(app: ASGIApp, key: str) -> float:
    headers = SENT | ({"authorization": f"Bearer {key}"} if key else {})
    return min(asyncio.run(one_round(app, headers)) for _ in range(ROUNDS))


async def one_round(app: ASGIApp, headers: dict[str, str]) -> float:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    started = time.thread_time()
    for _ in range(REQUESTS):
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": raw, "client": ("127.0.0.1", 5)}
        await app(scope, receive, send)
    return (time.thread_time() - started) / REQUESTS * 1e6


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def receive() -> dict[str, Any]:
    return {"type": "http.request"}


async def send(_message: Any) -> None:
    """To nobody."""


if __name__ == "__main__":
    main()
