"""What is measured: requests a second and their times under load, rows of batches, start, memory. All in one run."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from core.columns import Columns
from core.runtime import MODEL, open_session
from tests.bench.serving import load, servers
from tests.bench.serving.material import Material
from tests.bench.serving.servers import KEY, Running
from tests.serving.registry import FakeRegistry

ROUNDS, ROUND_S, CONNECTIONS = 5, 3.0, 16
BATCH_ROWS, BATCH_CONNECTIONS = 1000, 2
STARTS = 5
SAME = 1e-4  # largest difference between two servers' probabilities of a row


@dataclass(frozen=True)
class Load:
    """One server under load, in its quietest round: what else the machine does can only take away."""

    per_s: float
    p50_ms: float
    p99_ms: float
    generator_share: float  # of a core, that the generator needed


@dataclass(frozen=True)
class Measured:
    """Everything."""

    loads: dict[str, Load]
    rss_mb: dict[str, float]
    ready_s: float
    batch_rows_per_s: float
    bare_row_per_s: float
    bare_rows_per_s: float


def measure(material: Material, home: Path) -> Measured:
    registry = FakeRegistry("flights")
    registry.register("1", material.bundle)
    registry.release("1")
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.callback(registry.close)
        ready_s = _ready(home, registry.url)
        running = [stack.enter_context(one) for one in (servers.ours(home, registry.url), servers.empty())]
        running.append(stack.enter_context(servers.mlflow(material.mlflow_model)))
        bodies = _bodies(Path(folder), material)
        _agree(material, *(server for server in running if server.name != "empty"))
        loads = _loads(running, bodies)
        rows_per_s = [_rows_per_s(running[0], bodies["batches"], material) for _ in range(ROUNDS)]
        rss = {server.name: server.rss_mb for server in running}
    return Measured(loads, rss, ready_s, *map(max, zip(*rows_per_s, strict=True)))


def _ready(home: Path, registry_url: str) -> float:
    """Seconds to ready with a warm model cache: the quickest of some starts, after one that fills the cache."""
    found = []
    for _ in range(1 + STARTS):
        with servers.ours(home, registry_url) as server:
            found.append(server.ready_s)
    return min(found[1:])


def _bodies(folder: Path, material: Material) -> dict[str, Path]:
    """A file a server, one request a line."""
    rows = [json.dumps(row) for row in material.rows]
    many = (rows * (1 + BATCH_ROWS // len(rows)))[:BATCH_ROWS]
    frames = [json.dumps(frame) for frame in material.frames]
    found = {"ours": rows, "empty": rows, "mlflow": frames, "batches": [f'{{"rows": [{", ".join(many)}]}}']}
    for name, lines in found.items():
        (folder / name).write_text("\n".join(lines))
    return {name: folder / name for name in found}


def _agree(material: Material, ours: Running, mlflow: Running) -> None:
    """It is the same model: both give a row the same probability."""
    rows, frame = material.rows, material.frames[0]["dataframe_split"]
    whole = frame | {
        "index": list(range(len(rows))),
        "data": [f["dataframe_split"]["data"][0] for f in material.frames],
    }
    theirs = _ask(mlflow, mlflow.path, {"dataframe_split": whole})["predictions"]
    found = _ask(ours, "/predict/batch", {"rows": rows})["predictions"]
    off = np.abs(np.array([answer["probability"] for answer in found]) - np.array(theirs)[:, 1]).max()
    if not off < SAME:
        raise SystemExit(f"the servers do not serve the same model: probabilities differ by {off:.2g}")


def _ask(server: Running, path: str, content: Any) -> Any:
    headers = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"http://127.0.0.1:{server.port}{path}", json=content, headers=headers, timeout=60)
    return answer.raise_for_status().json()


def _loads(running: Sequence[Running], bodies: dict[str, Path]) -> dict[str, Load]:
    """In turns, so that what else the machine does hits all of them."""
    found: dict[str, list[dict[str, float]]] = {server.name: [] for server in running}
    for server in running:
        _under_load(server, server.path, bodies[server.name], 1.0, CONNECTIONS)  # warm
    for _ in range(ROUNDS):
        for server in running:
            found[server.name].append(_under_load(server, server.path, bodies[server.name], ROUND_S, CONNECTIONS))
    return {name: _quietest(rounds) for name, rounds in found.items()}


def _under_load(server: Running, path: str, bodies: Path, seconds: float, connections: int) -> dict[str, float]:
    given = [str(server.port), path, str(bodies), str(seconds), str(connections), KEY]
    done = subprocess.run([sys.executable, load.__file__, *given], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    if found["refused"]:
        raise SystemExit(f"{server.name} refused {found['refused']:.0f} requests")
    return found


def _quietest(rounds: list[dict[str, float]]) -> Load:
    best = max(rounds, key=lambda one: one["per_s"])
    p50_ms, p99_ms = (min(one[name] for one in rounds) for name in ("p50_ms", "p99_ms"))
    return Load(best["per_s"], p50_ms, p99_ms, best["own_cpu_share"])


def _rows_per_s(server: Running, bodies: Path, material: Material) -> tuple[float, float, float]:
    """Rows a second in batches, and of onnxruntime alone row by row and in batches."""
    batches = _under_load(server, "/predict/batch", bodies, ROUND_S, BATCH_CONNECTIONS)["per_s"]
    return batches * BATCH_ROWS, _bare(material, 1), _bare(material, BATCH_ROWS)


def _bare(material: Material, rows: int) -> float:
    """Rows a second of onnxruntime alone, in a loop over ready arrays of so many rows."""
    session = open_session((material.bundle / MODEL).read_bytes())
    feeds = _feeds(material.inputs, rows)
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < 1:
        session.run(["probabilities"], feeds)
        n += rows
    return n / (time.perf_counter() - started)


def _feeds(inputs: Columns, rows: int) -> Columns:
    def tensor(values: np.ndarray) -> np.ndarray:
        kind: Any = np.float32 if values.dtype.kind == "f" else object
        return np.resize(values, rows).astype(kind).reshape(-1, 1)

    return {name: tensor(values) for name, values in inputs.items()}
