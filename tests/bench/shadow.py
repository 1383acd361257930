"""What a version in shadow costs those who ask: `.venv/bin/python -m tests.bench.shadow` (a minute and a half).

A real server under load at fixed rates and without pause, in turns without a shadow, with one, and with one that takes
some ten milliseconds a request. The quietest of the rounds counts: what else the machine does can only take away.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import problems
from serving.schemas import example
from tests.serving.models import bundle
from tests.serving.process import ServerProcess
from tests.serving.registry import FakeRegistry

ROUNDS, ROUND_S, CONNECTIONS = 6, 1.2, 16
RATES = (500, 1000, None)  # requests a second; None: each connection asks again at once
SPEC = problems.load("flights").spec
SHADOWS = {"1": "no shadow", "2": "like the champion", "3": "slow"}  # by version; the first is the champion
Round = tuple[float, float, float, float]  # requests/s, p50 and p99 in ms, share of the rows that the shadow scored


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        registry = FakeRegistry("flights")
        for version, name in SHADOWS.items():
            registry.register(version, bundle(SPEC, Path(folder, version), fault="slow" * (name == "slow")))
        registry.release("1")
        server = ServerProcess(Path(folder, "home"), registry.url)
        server.ready()
        for rate in RATES:
            measure(server, registry, rate)
        server.stop()
        registry.close()


def measure(server: ServerProcess, registry: FakeRegistry, rate: int | None) -> None:
    found: dict[str, list[Round]] = {version: [] for version in SHADOWS}
    for _ in range(ROUNDS):
        for version in SHADOWS:
            tried = None if version == "1" else version
            registry.release("1", tried, shadow=tried is not None)
            server.wait("/release", shadow=tried)
            asyncio.run(under_load(server.port, 0.2, rate))
            found[version].append(one_round(server, rate))
    for version, rounds in found.items():
        per_s, p50, p99 = max(r[0] for r in rounds), min(r[1] for r in rounds), min(r[2] for r in rounds)
        share = np.median([r[3] for r in rounds])
        times = f"{per_s:6.0f}/s | p50 {p50:5.2f} ms | p99 {p99:6.2f} ms"
        print(f"{rate or 'no limit':>8} | {SHADOWS[version]:17} | {times} | scored {share:4.0%}")


def one_round(server: ServerProcess, rate: int | None) -> Round:
    before = scored(server)
    taken = asyncio.run(under_load(server.port, ROUND_S, rate))
    p50, p99 = np.percentile(np.array(taken) * 1000, [50, 99])
    return len(taken) / ROUND_S, float(p50), float(p99), (scored(server) - before) / len(taken)


def scored(server: ServerProcess) -> float:
    """Rows scored in shadow so far."""
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("serving_shadow_total"))


async def under_load(port: int, seconds: float, rate: int | None) -> list[float]:
    """Seconds that each request took."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    pause = CONNECTIONS / rate if rate else 0.0
    await asyncio.gather(*(caller(port, until, pause, n / CONNECTIONS, taken) for n in range(CONNECTIONS)))
    return taken


async def caller(port: int, until: float, pause: float, offset: float, taken: list[float]) -> None:
    """One connection that asks every `pause` seconds, the callers one after the other."""
    body = json.dumps(example(SPEC)).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = time.perf_counter() + offset * pause
    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        started = time.perf_counter()
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        taken.append(time.perf_counter() - started)
        due = due + pause if pause else time.perf_counter()
    writer.close()


if __name__ == "__main__":
    main()
