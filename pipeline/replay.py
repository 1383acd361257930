"""Play the outside world for one day: the live look-ups as they are observed, then the day's requests over HTTP.

It stands where your users and feeds will stand; nothing else in the loop knows that a day is replayed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import httpx
import pandas as pd
from sqlalchemy import Engine

from core import online
from core.clock import cutoff
from core.columns import to_rows
from core.errors import StackError
from core.schema import ProblemSpec
from pipeline import publish, raw
from pipeline.client import client, headers
from pipeline.features import lookup_frames
from problems import Problem

SINGLE_SHARE = 0.3  # of the day's rows go one by one, the rest in batches
BATCH_ROWS = 50
BATCH_NUMBERS = 200_000  # of arrays in one body: far below what the server takes
CONNECTIONS = 8
log = logging.getLogger(__name__)


@dataclass
class Traffic:
    """What a day's requests came to."""

    requests: int = 0
    rows: int = 0
    failures: list[str] = field(default_factory=list)


def replay(
    engine: Engine, problem: Problem, url: str, day: date, first: int = 0, between: Callable[[], object] | None = None
) -> Traffic:
    """Publish what is observed on `day` and send its requests to the server at `url`; wait until it took both.

    With `between`, that is called when the `first` rows are answered, and others are to come. A day that the source
    does not have, or that has no event, sends nothing.
    """
    feed(engine, problem, day)
    _wait_for_lookups(url, online.newest(engine, problem.spec.name))
    rows, batch, traffic = requests(problem, day), batch_rows(problem.spec), Traffic()
    if between and rows[first:]:
        asyncio.run(_send(url, rows[:first], batch, traffic))
        between()
        rows = rows[first:]
    asyncio.run(_send(url, rows, batch, traffic))
    _wait_until(lambda: _release(url)["pending_rows"] == 0, "the server has not shipped its predictions")
    return traffic


def requests(problem: Problem, day: date) -> list[dict[str, Any]]:
    """The day's events as request rows, in the order of their time."""
    events = _tables(problem, [day]).get(raw.EVENTS)
    return [] if events is None else to_rows(problem.spec, events.sort_values(problem.spec.time))


def batch_rows(spec: ProblemSpec) -> int:
    """Rows of one request: fewer where a row is large."""
    numbers = sum(column.size for column in spec.columns.values() if column.type == "array")
    return min(BATCH_ROWS, max(1, BATCH_NUMBERS // max(numbers, 1)))


def feed(engine: Engine, problem: Problem, day: date) -> int:
    """Write the live look-ups that become available between the cut-offs of `day` and the next. Returns new rows."""
    live = [name for name, spec in problem.spec.lookups.items() if spec.feed == "live"]
    tables = _tables(problem, [day - timedelta(days=1), day]) if live else {}
    if not tables:
        return 0
    frames, clock = lookup_frames(problem, tables), problem.spec.clock
    since, until = cutoff(clock, day), cutoff(clock, day + timedelta(days=1))
    return sum(publish.write(engine, problem, name, publish.between(frames[name], since, until)) for name in live)


def _tables(problem: Problem, days: Sequence[date]) -> dict[str, pd.DataFrame]:
    """The tables of those of the days that the source has."""
    partitions: list[dict[str, pd.DataFrame]] = [problem.data.partition(d) for d in days if problem.data.covers(d)]
    names = {name: None for partition in partitions for name in partition}
    return {name: pd.concat([p[name] for p in partitions if name in p], ignore_index=True) for name in names}


async def _send(url: str, rows: Sequence[dict[str, Any]], batch: int, traffic: Traffic) -> None:
    """Every third row or so alone, the others in batches, over a few connections at once."""
    step = round(1 / SINGLE_SHARE)
    rest = [row for i, row in enumerate(rows) if i % step]
    bodies: list[tuple[str, Any, int]] = [("/predict", row, 1) for row in rows[::step]]
    batches = [rest[i : i + batch] for i in range(0, len(rest), batch)]
    bodies += [("/predict/batch", {"rows": some}, len(some)) for some in batches]
    limits = httpx.Limits(max_connections=CONNECTIONS)
    options: dict[str, Any] = {"limits": limits, "timeout": 30, "trust_env": False}
    async with httpx.AsyncClient(base_url=url, headers=headers(), **options) as http:
        await asyncio.gather(*(_post(http, path, body, count, traffic) for path, body, count in bodies))


async def _post(http: httpx.AsyncClient, path: str, body: Any, count: int, traffic: Traffic) -> None:
    traffic.requests += 1
    try:
        answer = await http.post(path, json=body)
    except httpx.HTTPError as error:
        traffic.failures.append(f"{path}: {error!r}")
        return
    if answer.is_success:
        traffic.rows += count
    else:
        traffic.failures.append(f"{path}: {answer.status_code} {answer.text[:200]}")


def _wait_for_lookups(url: str, newest: int) -> None:
    _wait_until(lambda: _release(url)["lookups_id"] >= newest, "the server has not read the newest look-ups")


def _wait_until(done: Any, complaint: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise StackError(f"{complaint} after {timeout_s:.0f} s; its log says why")
        time.sleep(0.1)


def _release(url: str) -> dict[str, Any]:
    with client(url, timeout_s=10) as http:
        return dict(http.get("/release").raise_for_status().json())
