"""What the guard adds to every answer, whom it slows down, and what it says in the log: never what was sent."""

import asyncio
import json
import logging
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from core.keys import Keys, change, new_key
from core.schema import ProblemSpec
from serving.guard import Guard
from serving.keys import KeyRing
from serving.rate import Buckets
from serving.schemas import example
from tests.serving.conftest import Launch, Start
from tests.serving.process import ServerProcess

ALWAYS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
STRICT = "default-src 'none'; frame-ancestors 'none'"
MADE = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")
SECRET = "Erika Mustermann"


def test_every_answer_is_marked_good_or_bad(running: ServerProcess, spec: ProblemSpec) -> None:
    answers = [running.get(path) for path in ("/healthz", "/readyz", "/release", "/metrics", "/openapi.json", "/no")]
    answers += [
        running.post("/predict", example(spec)),
        running.post("/predict", []),
        running.client.delete("/predict"),
    ]
    answers.append(running.client.post("/predict", content=b"x" * 9_000_000))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 404, 200, 422, 405, 413]
    for answer in answers:
        assert answer.headers.items() >= (ALWAYS | {"content-security-policy": STRICT}).items()
        assert MADE.fullmatch(answer.headers["x-request-id"])
        assert "server" not in answer.headers
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


def test_the_caller_may_choose_the_request_id(running: ServerProcess) -> None:
    answer = running.client.get("/healthz", headers={"X-Request-ID": "order-4711.a_b"})
    assert answer.headers["x-request-id"] == "order-4711.a_b"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "é", "a;b", "<script>", '"'])
def test_an_odd_request_id_is_replaced(running: ServerProcess, sent: str) -> None:
    answer = running.client.get("/healthz", headers={"X-Request-ID": sent.encode()})
    assert MADE.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:8000"}, {"Origin": "https://evil.example"}, {"Origin": "null"}],
)
def test_an_open_server_answers_no_web_page_from_elsewhere(running: ServerProcess, headers: dict[str, str]) -> None:
    answer = running.client.get("/release", headers=headers)
    assert answer.status_code == 403
    assert "this machine only" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "headers", [{"Host": "localhost:8000"}, {"Host": "[::1]:80"}, {"Origin": "http://127.0.0.1:3000"}]
)
def test_an_open_server_answers_this_machine_by_any_name(running: ServerProcess, headers: dict[str, str]) -> None:
    assert running.client.get("/release", headers=headers).status_code == 200


@pytest.mark.parametrize("said", ["203.0.113.9", "127.0.0.1, 203.0.113.9", "203.0.113.9, 127.0.0.1"])
def test_an_open_server_answers_no_other_machine(running: ServerProcess, said: str) -> None:
    answer = running.client.get("/release", headers={"X-Forwarded-For": said})  # as a proxy here says it
    assert answer.status_code == 403


def test_the_documentation_needs_no_network_and_no_script(running: ServerProcess, spec: ProblemSpec) -> None:
    answer = running.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src")
    assert not re.search(r"<script|<link|<img|@import|src=|https?://(?!127\.0\.0\.1)", answer.text)
    for name in spec.columns:
        assert name in answer.text
    assert "curl http://127.0.0.1" in answer.text
    assert running.get("/redoc").status_code == 404


def test_the_openapi_document_declares_keys_scopes_and_refusals(running: ServerProcess) -> None:
    document = running.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    predict, release = document["paths"]["/predict"]["post"], document["paths"]["/release"]["get"]
    assert predict["security"] == [{}, {"bearer": ["predict"]}, {"header": ["predict"]}]  # open now: keys are optional
    assert release["security"][1] == {"bearer": ["operate"]}
    assert set(predict["responses"]) >= {"200", "400", "401", "403", "413", "422", "429", "503"}
    assert "security" not in document["paths"]["/healthz"]["get"]


def test_a_server_with_keys_documents_that_they_are_needed(start: Start, tmp_path: Path) -> None:
    path, key = tmp_path / "keys.json", new_key()
    change(path, lambda keys: keys.added("both", key, ["predict", "operate"]))
    answer = start(keys=str(path)).client.get("/openapi.json", headers={"X-API-Key": key})
    assert answer.json()["paths"]["/predict"]["post"]["security"] == [{"bearer": ["predict"]}, {"header": ["predict"]}]


def test_too_many_requests_are_told_when_to_come_back(start: Start, spec: ProblemSpec) -> None:
    server = start(rate_per_s=5.0)
    answers = [server.post("/predict", example(spec)) for _ in range(30)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert len(refused) >= 15
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert refused[0].json()["errors"][0]["field"] == "server"
    assert server.get("/healthz").status_code == 200


def test_one_key_does_not_use_up_the_rate_of_another(start: Start, tmp_path: Path) -> None:
    path, one, other = tmp_path / "keys.json", new_key(), new_key()
    change(path, lambda keys: keys.added("one", one, ["operate"]).added("other", other, ["operate"]))
    server = start(keys=str(path), rate_per_s=1.0)
    statuses = [server.client.get("/release", headers={"X-API-Key": key}).status_code for key in (one, one, one, other)]
    assert statuses == [200, 429, 429, 200]


def test_tokens_come_back_with_time() -> None:
    buckets = Buckets(2.0)
    assert [buckets.wait_s("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert buckets.wait_s("b", 0.0) == 0.0
    assert [buckets.wait_s("a", 0.5) for _ in range(2)] == [0.0, 0.5]
    assert [buckets.wait_s("a", 100.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_slow_rates_give_one_token_at_a_time() -> None:
    buckets = Buckets(0.1)
    assert [buckets.wait_s("a", at) for at in (0.0, 5.0, 10.0)] == [0.0, 5.0, 0.0]


def test_callers_without_number_take_bounded_memory() -> None:
    buckets = Buckets(1.0, most=100)
    for i in range(1000):
        buckets.wait_s(str(i), 0.0)
    assert len(buckets._left) == 100


def test_the_log_has_a_line_for_what_was_refused_and_nothing_that_was_sent(launch: Launch, spec: ProblemSpec) -> None:
    server = launch()
    sent = {"X-Request-ID": "mine", "X-Other": SECRET, "User-Agent": SECRET}
    assert server.client.post("/predict", json=example(spec), headers=sent).status_code == 200
    bad = example(spec) | {spec.entity: SECRET, next(iter(spec.lookup_values)): SECRET, SECRET: 1}
    for status, path, content in (
        (422, "/predict", json.dumps(bad)),
        (422, f"/predict?name={SECRET}", json.dumps({SECRET: SECRET})),
        (400, "/predict", SECRET),
        (404, f"/predict/{SECRET}", "{}"),
        (422, "/predict/batch", json.dumps({"rows": [bad] * 30})),
    ):
        assert server.client.post(path, content=content, headers=sent).status_code == status
    raw(server, f"GET /release HTTP/1.1\r\nHost: {SECRET}\r\n\r\n")
    raw(server, f"{SECRET}\r\n\r\n")
    server.stop()
    text = server.log.read_text()
    assert SECRET not in text
    assert SECRET.split()[0] not in text
    lines = re.findall(r"serving\.guard: (\S+) (\S+) (\S+|\(another path\)) (\d+) [\d.]+ ms key=-\n", text)
    assert [line[:2] for line in lines[:5]] == [("mine", "POST")] * 5
    assert [line[2:] for line in lines[:3]] == [("/predict", "422"), ("/predict", "422"), ("/predict", "400")]
    assert [line[2:] for line in lines[3:5]] == [("(another path)", "404"), ("/predict/batch", "422")]


def test_a_flood_of_refusals_does_not_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    guard = Guard(nothing_here, KeyRing(tmp_path / "keys.json"))

    async def ask(n: int) -> None:
        for _ in range(n):
            await guard(dict(SCOPE), no_body, nowhere)

    asyncio.run(ask(500))
    time.sleep(0.1)
    asyncio.run(ask(1))
    said = [record.getMessage() for record in caplog.records if record.name == "serving.guard"]
    assert 50 <= len(said) < 400
    assert sum(int(n) for n in re.findall(r"\((\d+) before it not said\)", " ".join(said))) == 501 - len(said)


SCOPE = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "client": ("127.0.0.1", 1)}


async def nothing_here(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})


async def no_body() -> Any:
    raise AssertionError("the body is not read")


async def nowhere(_message: Any) -> None:
    """To nobody."""


def raw(server: ServerProcess, text: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(text.encode())
        return connection.recv(10_000)


def test_a_bug_tells_the_caller_nothing_and_the_log_only_where_it_is(
    start: Start, spec: ProblemSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()

    def broken(*_: Any) -> Any:
        raise KeyError(SECRET)

    monkeypatch.setattr(server.parts.parser, "many", broken)
    answer = server.post("/predict/batch", {"rows": [example(spec)]})
    assert answer.status_code == 500
    assert answer.json() == {"errors": [{"field": "server", "message": "internal error", "got": None}]}
    assert answer.headers.items() >= ALWAYS.items()
    server.stop()
    said = [record for record in caplog.records if record.name == "serving.guard"]
    assert [record.levelno for record in said] == [logging.ERROR]
    assert "500" in said[0].getMessage()
    assert "KeyError in test_guard.py:" in said[0].getMessage()
    assert SECRET not in caplog.text


def test_refusing_reads_no_body(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    change(path, lambda keys: Keys().added("one", new_key(), ["predict"]))

    async def app(*_: Any) -> None:
        raise AssertionError("the application is not asked")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(app, KeyRing(path))(dict(SCOPE), no_body, send))
    assert sent[0]["status"] == 401
