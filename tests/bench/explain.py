"""What an explanation costs, how far it is from the truth, and how exactly a prediction can be replayed: the tables of
docs/performance.md, in three minutes.

    .venv/bin/python -m tests.bench.explain

Real flights, the candidates of problem.yaml as of AS_OF, one caller. The truth is a sample of a hundred times as many.
"""

import http.client
import json
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import pandas as pd

from core.columns import Columns
from core.explain import PAIRS, explain
from core.lookups import model_inputs
from core.runtime import OnnxModel
from core.schema import ProblemSpec, Value
from core.shapley import coalitions
from pipeline.features import holdout_rows, holdout_start, inputs, table, training_rows
from pipeline.train import train
from problems import Problem, load
from serving.schemas import example
from tests.serving.process import ServerProcess
from tests.serving.registry import FakeRegistry

FIRST, AS_OF = date(2013, 1, 1), date(2013, 4, 12)
TRUTH, ROWS, REQUESTS, SERVED = 2500, 40, 1500, "hgb"
TRIED = (1, 5, PAIRS, 100)
BATCHED, BATCHES = 300, (2, 16, 128)
PLAIN, EXPLAINED = "/predict", "/predict?explain=true"


def main() -> None:
    warnings.simplefilter("ignore")
    problem = load("flights")
    with tempfile.TemporaryDirectory() as folder:
        frame = table(problem, _tables(problem))
        held_out = holdout_rows(problem.spec, frame, AS_OF)
        rows = training_rows(frame, holdout_start(problem.spec, AS_OF))
        for name in problem.spec.candidates:
            train(problem.spec, name, rows, held_out, Path(folder, name))
        print("| model | pairs of orders | rows | error, p99 | ms, p50 |\n|---|---|---|---|---|")
        sample = _rows(problem.spec, held_out.sample(ROWS, random_state=1))
        for name in problem.spec.candidates:
            print(*_errors(name, OnnxModel.load(Path(folder, name), problem.spec), sample), sep="\n")
        print(f"\n| model | batches of | rows of {BATCHED} that differ | by at most |\n|---|---|---|---|")
        some = inputs(problem.spec, held_out.sample(BATCHED, random_state=2))
        for name in problem.spec.candidates:
            print(*_rounding(name, OnnxModel.load(Path(folder, name), problem.spec), some), sep="\n")
        print(f"\n| POST, {SERVED}, one caller | p50 ms | p99 ms |\n|---|---|---|")
        print(*_over_http(problem.spec, Path(folder)), sep="\n")


def _tables(problem: Problem) -> dict[str, pd.DataFrame]:
    days = [FIRST + timedelta(days=n) for n in range((AS_OF - FIRST).days)]
    parts = [{n: f.assign(partition=day) for n, f in problem.data.partition(day).items()} for day in days]
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def _rows(spec: ProblemSpec, frame: pd.DataFrame) -> list[Columns]:
    """One a row, each column of shape (1,)."""
    columns = model_inputs(spec, inputs(spec, frame))
    return [{name: values[i : i + 1] for name, values in columns.items()} for i in range(len(frame))]


def _errors(name: str, model: OnnxModel, rows: Sequence[Columns]) -> Iterator[str]:
    truth, _ = _explained(model, rows, TRUTH)
    for pairs in TRIED:
        found, seconds = _explained(model, rows, pairs)
        off, asked = np.percentile(np.abs(found - truth), 99), coalitions(found.shape[1], pairs)
        yield f"| {name} | {pairs} | {asked:,} | {off:.4f} | {np.median(seconds) * 1000:.2f} |"


def _explained(model: OnnxModel, rows: Sequence[Columns], pairs: int) -> tuple[np.ndarray, list[float]]:
    """Contributions, shape (rows, features), and how long each row took."""
    found, seconds = [], []
    for row in rows:
        prediction, started = model.predict(row), time.perf_counter()
        found.append([*explain(model, row, prediction, pairs).contributions.values()])
        seconds.append(time.perf_counter() - started)
    return np.array(found), seconds


def _rounding(name: str, model: OnnxModel, columns: Columns) -> Iterator[str]:
    """How far predictions of rows in batches are from those of the same rows alone."""
    alone = _batched(model, columns, 1)
    for size in BATCHES:
        off = np.abs(_batched(model, columns, size) - alone)
        yield f"| {name} | {size} | {np.count_nonzero(off)} | {off.max():.2g} |"


def _batched(model: OnnxModel, columns: Columns, size: int) -> np.ndarray:
    starts = range(0, BATCHED, size)
    return np.concatenate([model.predict({n: v[i : i + size] for n, v in columns.items()}) for i in starts])


def _over_http(spec: ProblemSpec, folder: Path) -> Iterator[str]:
    """The look-up values are sent, so that no feature is like the typical row's for being missing."""
    registry = FakeRegistry(spec.name)
    registry.register("1", folder / SERVED)
    registry.release("1")
    server = ServerProcess(folder / "home", registry.url)
    try:
        server.ready()
        row = example(spec) | {name: _between(about) for name, about in spec.lookup_values.items()}
        for path in (PLAIN, EXPLAINED):
            _timed(server.url, path, row, 200)
            yield _line(f"`{path}`", _timed(server.url, path, row, REQUESTS))
        for other in (PLAIN, EXPLAINED):
            with _beside(server.url, other, row):
                yield _line(f"`{PLAIN}`, beside a caller of `{other}`", _timed(server.url, PLAIN, row, REQUESTS))
    finally:
        server.stop()
        registry.close()


@contextmanager
def _beside(url: str, path: str, row: Mapping[str, Any]) -> Iterator[None]:
    """Another caller, in a process of its own, that asks without a pause."""
    caller = multiprocessing.get_context("spawn").Process(target=_timed, args=(url, path, row, 10**9), daemon=True)
    caller.start()
    time.sleep(3)  # until it has started
    try:
        yield
    finally:
        caller.kill()
        caller.join()


def _line(what: str, seconds: Sequence[float]) -> str:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return f"| {what} | {p50:.2f} | {p99:.2f} |"


def _between(about: Value) -> float:
    low, high = about.min or 0.0, about.max or 1.0
    return low + 0.37 * (high - low)


def _timed(url: str, path: str, row: Mapping[str, Any], requests: int) -> list[float]:
    client, body, seconds = http.client.HTTPConnection(urlparse(url).netloc), json.dumps(row).encode(), []
    for _ in range(requests):
        started = time.perf_counter()
        client.request("POST", path, body)
        answer = client.getresponse()
        answer.read()
        seconds.append(time.perf_counter() - started)
        assert answer.status == 200
    client.close()
    return seconds


if __name__ == "__main__":
    main()
