"""Requests that arrive together: answered as one, each on its own merits, and only after they are logged."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import problems
from core.config import Settings
from core.releases import ReleaseReader
from core.schema import ProblemSpec
from serving.gather import Gather
from serving.replies import Refused, unavailable
from serving.schemas import example
from serving.server import Server
from serving.state import bucket
from tests.serving.conftest import PROBABILITY, Start
from tests.serving.models import FAULT_ABOVE
from tests.serving.registry import FakeRegistry

TOGETHER = 6


class Asked:
    """Answers a row with its number doubled, and remembers what it was asked together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, rows: list[dict[str, Any]]) -> list[Any]:
        numbers = [row["n"] for row in rows]
        self.batches.append(numbers)
        if -1 in numbers:
            raise ValueError("row -1")
        if -2 in numbers:
            raise unavailable("the server is full")
        return [Refused(503) if n == 0 else 2 * n for n in numbers]


def asking(numbers: list[int], answer: Callable[..., Any], **limits: int) -> list[Any]:
    """All at once; an exception stands in its caller's place."""

    async def all_at_once() -> list[Any]:
        gather = Gather(answer, **limits)
        return await asyncio.gather(*(gather.ask({"n": n}) for n in numbers), return_exceptions=True)

    return asyncio.run(all_at_once())


def test_what_is_asked_at_once_is_answered_together() -> None:
    asked = Asked()
    assert asking([1, 2, 3], asked) == [2, 4, 6]
    assert asked.batches == [[1, 2, 3]]


def test_a_long_queue_is_answered_in_parts_and_in_order() -> None:
    asked = Asked()
    assert asking([1, 2, 3, 4, 5], asked, most=2) == [2, 4, 6, 8, 10]
    assert asked.batches == [[1, 2], [3, 4], [5]]


def test_a_row_that_raises_costs_nobody_else_an_answer() -> None:
    asked = Asked()
    first, bad, last = asking([1, -1, 3], asked)
    assert (first, last) == (2, 6)
    assert isinstance(bad, ValueError)
    assert asked.batches == [[1, -1, 3], [1], [-1], [3]]


def test_a_refusal_of_one_row_is_its_own_and_one_of_the_server_is_for_all() -> None:
    one, refused = asking([1, 0], Asked())
    assert one == 2
    assert isinstance(refused, Refused)
    full = Asked()
    assert [type(answer) for answer in asking([1, -2], full)] == [Refused, Refused]
    assert len(full.batches) == 1


def test_too_many_at_once_are_sent_away() -> None:
    found = asking([1, 2, 3], Asked(), waiting=2)
    assert found[:2] == [2, 4]
    assert isinstance(found[2], Refused)
    assert found[2].status == 503


def test_a_caller_that_is_gone_is_left_out_of_the_telling() -> None:
    async def cancelled() -> int:
        gather = Gather(Asked())
        gone, stays = (asyncio.ensure_future(gather.ask({"n": n})) for n in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        return int(await stays)

    assert asyncio.run(cancelled()) == 4


@pytest.fixture
def server(tmp_path: Path, registry: FakeRegistry) -> Iterator[Server]:
    """Version 1 and what a test releases, without threads: nothing is shipped."""
    settings = Settings(home=tmp_path / "home", mlflow_url=registry.url)
    problem = problems.load("flights")
    server = Server(problem, settings, ReleaseReader(registry.url, problem.spec.name))
    yield server
    server.stop()


def predicting(server: Server, rows: list[dict[str, Any]]) -> list[Any]:
    """All rows at once, a request each."""

    async def one(row: dict[str, Any]) -> Any:
        return await server.predict_one(json.dumps(row).encode())

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*map(one, rows), return_exceptions=True)

    server.follower.step()
    return asyncio.run(all_at_once())


def spooled(server: Server) -> list[dict[str, Any]]:
    piece = server.spool.read()
    return [json.loads(line) for line in piece.lines] if piece else []


def test_requests_of_one_moment_are_one_write_before_the_first_answer(
    server: Server, spec: ProblemSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrote: list[int] = []
    append = server.spool.append

    def noted(lines: bytes, rows: int) -> None:
        append(lines, rows)
        wrote.append(rows)

    monkeypatch.setattr(server.spool, "append", noted)
    answers = predicting(server, [example(spec) | {spec.id: str(n)} for n in range(TOGETHER)])
    assert wrote == [TOGETHER]
    assert [answer["event_id"] for answer in answers] == [str(n) for n in range(TOGETHER)]
    assert [record["id"] for record in spooled(server)] == [answer["prediction_id"] for answer in answers]


def test_no_answer_leaves_when_the_log_takes_nothing(
    server: Server, spec: ProblemSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.spool, "limit", 10)
    answers = predicting(server, [example(spec)] * TOGETHER)
    assert [answer.status for answer in answers] == [503] * TOGETHER
    assert spooled(server) == []


def test_a_body_that_is_wrong_is_refused_alone(server: Server, spec: ProblemSpec) -> None:
    good, bad, other = predicting(server, [example(spec), {}, example(spec)])
    assert good["probability"] == other["probability"] == PROBABILITY["1"]
    assert bad.status == 422


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_row_that_breaks_the_champion_breaks_no_other_answer(
    server: Server, registry: FakeRegistry, spec: ProblemSpec, fault: str
) -> None:
    registry.release(fault)
    good, bad, other = predicting(server, [example(spec), breaking(spec), example(spec)])
    assert good["probability"] == other["probability"] == PROBABILITY["2"]
    assert isinstance(bad, Refused)
    assert bad.status == 503
    assert [record["error"] is None for record in spooled(server)] == [True, False, True]


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_canary_is_blamed_for_the_rows_it_failed_on_only(
    server: Server, registry: FakeRegistry, spec: ProblemSpec, fault: str
) -> None:
    registry.release("1", fault, 100)
    answers = predicting(server, [example(spec), breaking(spec), example(spec)])
    assert [answer["role"] for answer in answers] == ["canary", "champion", "canary"]
    failed = [record for record in spooled(server) if record["error"]]
    assert [(record["role"], record["inputs"]) for record in failed] == [("canary", breaking(spec))]


def test_each_request_of_a_moment_has_the_answerer_of_its_entity(
    server: Server, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    registry.release("1", "2", 50)
    entities = [f"entity {n}" for n in range(50)]
    answers = predicting(server, [example(spec) | {spec.entity: entity} for entity in entities])
    expected = ["canary" if bucket("2", entity) < 5000 else "champion" for entity in entities]
    assert [answer["role"] for answer in answers] == expected
    assert set(expected) == {"canary", "champion"}


def test_a_caller_that_hangs_up_while_it_waits_harms_nobody(start: Start, spec: ProblemSpec) -> None:
    server, row = start(), json.dumps(example(spec)).encode()
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(row), row)
    with ExitStack() as callers:
        for _ in range(20):
            caller = callers.enter_context(socket.create_connection(("127.0.0.1", server.client.base_url.port)))
            caller.sendall(request)
    assert server.post("/predict", example(spec)).json()["probability"] == PROBABILITY["1"]
    assert server.wait("/release", pending_rows=0)["champion"] == "1"


def breaking(spec: ProblemSpec) -> dict[str, Any]:
    """A row on which the faulty models fail."""
    return example(spec) | {"distance": FAULT_ABOVE + 1}
