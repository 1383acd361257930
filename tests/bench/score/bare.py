"""Onnxruntime alone, a process of its own: `python -m tests.bench.score.bare BUNDLE READY SECONDS` prints rows/s.

The graph in a loop, `session.run` on slices of ready arrays, one thread: float32 numbers, texts as numpy texts or as
Python objects, 1,024 to 65,536 rows at a time. Short trials find the fastest of these ways; that one is timed.
"""

import os
import sys
import time
from pathlib import Path

os.environ |= {"ORT_DISABLE_TELEMETRY": "1"}

import numpy as np

from core.runtime import MODEL, open_session

SIZES = (1024, 4096, 16_384, 65_536)
TRIALS, TRIAL_S = 3, 0.1  # of each way


def rows_per_s(bundle: Path, ready: Path, seconds: float) -> float:
    session = open_session((bundle / MODEL).read_bytes())
    texts = {name: column.reshape(-1, 1) for name, column in np.load(ready).items()}
    objects = {n: c if c.dtype == np.float32 else c.astype(object) for n, c in texts.items()}
    ways = [(columns, size) for columns in (texts, objects) for size in SIZES]
    fastest = max(ways, key=lambda way: max(_timed(session, *way, TRIAL_S) for _ in range(TRIALS)))
    return _timed(session, *fastest, seconds)


def _timed(session: object, columns: dict[str, np.ndarray], size: int, seconds: float) -> float:
    n, done, started = len(next(iter(columns.values()))), 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        start = done % (n - size + 1)
        session.run(["probabilities"], {name: c[start : start + size] for name, c in columns.items()})  # type: ignore[attr-defined]
        done += size
    return done / taken


if __name__ == "__main__":
    print(rows_per_s(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
