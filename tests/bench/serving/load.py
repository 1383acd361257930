"""The load generator, a process of its own: `python load.py PORT PATH BODIES SECONDS CONNECTIONS KEY` prints JSON.

Bare sockets on uvloop: each connection sends its next request when the last one is answered. It reads status and
length of an answer, and nothing else, so that it is not what is measured.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import cast

import uvloop


class Caller(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, requests: Iterator[bytes], until: float, done: "asyncio.Future[None]") -> None:
        self._requests, self._until, self._done = requests, until, done
        self.taken_s: list[float] = []
        self.refused = 0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self._got[:head].lower()
        at = lower.index(b"content-length:") + 15
        length = int(lower[at:].split(b"\r\n", 1)[0])
        if len(self._got) < head + 4 + length:
            return
        self.taken_s.append(time.perf_counter() - self._asked)
        self.refused += self._got[9:12] != b"200"
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server has hung up"))

    def _ask(self) -> None:
        self._asked, self._got = time.perf_counter(), b""
        if self._asked < self._until:
            self._transport.write(next(self._requests))
        elif not self._done.done():
            self._done.set_result(None)


async def load(port: int, requests: list[bytes], seconds: float, connections: int) -> dict[str, float]:
    """requests/s, p50 and p99 in milliseconds, how many answers were not 200."""
    ring = cycle(requests)
    loop, started = asyncio.get_running_loop(), time.perf_counter()
    callers, ends = [], []
    for _ in range(connections):
        ends.append(loop.create_future())
        make = Caller(ring, started + seconds, ends[-1])
        callers.append((await loop.create_connection(lambda made=make: made, "127.0.0.1", port))[1])  # type: ignore
    await asyncio.gather(*ends)
    taken_s = sorted(s for caller in callers for s in caller.taken_s)
    return {
        "per_s": len(taken_s) / (time.perf_counter() - started),
        "p50_ms": 1000 * taken_s[len(taken_s) // 2],
        "p99_ms": 1000 * taken_s[int(len(taken_s) * 0.99)],
        "refused": sum(caller.refused for caller in callers),
        "own_cpu_share": time.process_time() / (time.perf_counter() - started),
    }


def request(path: str, body: bytes, key: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Authorization: Bearer {key}",
    ]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


if __name__ == "__main__":
    port, path, file, seconds, connections, key = sys.argv[1:]
    requests = [request(path, body, key) for body in Path(file).read_bytes().splitlines()]
    print(json.dumps(uvloop.run(load(int(port), requests, float(seconds), int(connections)))))
