"""What a request may say, and what a caller is told when it says something else."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from core.schema import ProblemSpec
from serving.limits import MAX_BODY
from serving.schemas import MAX_ROWS, example
from serving.server import BATCHES_WAITING
from serving.spool import Spool
from tests.serving.conftest import Start
from tests.serving.process import ServerProcess


@pytest.fixture
def row(spec: ProblemSpec) -> dict[str, Any]:
    return example(spec)


def send(server: ServerProcess, body: Any, path: str = "/predict") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    return httpx.post(server.url + path, content=content, timeout=30)


def refused(answer: httpx.Response, status: int = 422) -> dict[str, Any]:
    """The first mistake of a refusal."""
    assert answer.status_code == status, answer.text
    first: dict[str, Any] = answer.json()["errors"][0]
    assert set(first) == {"field", "message", "got"}
    return first


def test_the_example_of_the_documentation_is_answered(running: ServerProcess, spec: ProblemSpec) -> None:
    schemas = running.get("/openapi.json").json()["components"]["schemas"]
    shown = schemas["FlightsRow"]["example"]
    answer = running.post("/predict", shown).json()
    assert answer["event_id"] == shown[spec.id]
    assert (answer["probability"], answer["model_version"], answer["role"]) == (0.25, "1", "champion")
    assert set(answer) == set(schemas["Prediction"]["properties"])
    assert running.post("/predict/batch", schemas["FlightsBatch"]["example"]).status_code == 200


def test_the_documentation_says_unit_and_bounds_of_every_column(running: ServerProcess, spec: ProblemSpec) -> None:
    model = running.get("/openapi.json").json()["components"]["schemas"]["FlightsRow"]
    assert set(model["properties"]) == {*spec.columns, *spec.lookup_values}
    assert set(model["required"]) == {name for name, column in spec.columns.items() if not column.optional}
    for name, column in spec.columns.items():
        said = model["properties"][name]
        assert column.description.rstrip(".") in said["description"]
        assert (column.unit or "") in said["description"]
        if column.type == "number":
            assert (said["minimum"], said["maximum"]) == (column.min, column.max)


def test_a_value_that_the_caller_knows_is_not_missing(running: ServerProcess, row: dict[str, Any]) -> None:
    without = running.post("/predict", row).json()["missing"]
    with_humid = running.post("/predict", row | {"humid": 70}).json()["missing"]
    assert sorted(without) == sorted([*with_humid, "humid"])


def test_a_category_that_training_never_saw_is_answered_and_said(running: ServerProcess, row: dict[str, Any]) -> None:
    assert running.post("/predict", row).json()["unknown"] == []
    assert running.post("/predict", row | {"carrier": "ZZ"}).json()["unknown"] == ["carrier"]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"carier": "UA"}, "carier", "did you mean carrier"),
        ({"carrier": None}, "carrier", "string"),
        ({"carrier": 7}, "carrier", "string"),
        ({"carrier": ""}, "carrier", "at least 1"),
        ({"carrier": "x" * 201}, "carrier", "at most 200"),
        ({"carrier": "U\x00A"}, "carrier", "control characters"),
        ({"distance": "1400"}, "distance", "number"),
        ({"distance": True}, "distance", "number"),
        ({"distance": -1}, "distance", "greater than or equal to 1"),
        ({"distance": 1e300}, "distance", "less than or equal to"),
        ({"distance": float("nan")}, "distance", "finite"),
        ({"distance": float("inf")}, "distance", "finite"),
        ({"humid": 101}, "humid", "less than or equal to 100"),
        ({"sched_dep": "2013-04-01T06:45:00"}, "sched_dep", "UTC offset, such as 2013-04-01T06:45:00-04:00"),
        ({"sched_dep": "2013-04-01"}, "sched_dep", "UTC offset"),
        ({"sched_dep": 1364813100}, "sched_dep", "UTC offset"),
        ({"sched_dep": "1364813100"}, "sched_dep", "UTC offset"),
        ({"sched_dep": "-6.7"}, "sched_dep", "UTC offset"),
        ({"sched_dep": "tomorrow"}, "sched_dep", "UTC offset"),
        ({"sched_dep": "2013-04-31T06:45:00Z"}, "sched_dep", "datetime"),
        ({"sched_dep": {"a": [1]}}, "sched_dep", "UTC offset"),
    ],
)
def test_a_wrong_field_is_named(
    running: ServerProcess, row: dict[str, Any], change: dict[str, Any], field: str, words: str
) -> None:
    first = refused(send(running, row | change))
    assert first["field"] == field
    assert words in first["message"]
    in_batch = refused(send(running, {"rows": [row, row, row, row | change]}, "/predict/batch"))
    assert in_batch["field"] == f"rows.3.{field}"


def test_a_field_that_is_left_out_is_named(running: ServerProcess, row: dict[str, Any]) -> None:
    del row["carrier"]
    assert refused(send(running, row))["field"] == "carrier"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": "\\ud800"}', b"[" * 60_000, b"1" * 5000])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_what_is_not_json_is_refused_with_a_reason(running: ServerProcess, body: bytes, path: str) -> None:
    assert "not valid JSON" in refused(send(running, body, path), 400)["message"]


@pytest.mark.parametrize("body", [[], "text", 7, None])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_what_is_no_object_is_refused(running: ServerProcess, body: Any, path: str) -> None:
    assert refused(send(running, body, path)) | {"got": None} == {
        "field": "body",
        "message": "expected a JSON object",
        "got": None,
    }


@pytest.mark.parametrize("rows", [[], None, {}, [{}] * (MAX_ROWS + 1)])
def test_a_batch_needs_one_to_ten_thousand_rows(running: ServerProcess, rows: Any) -> None:
    first = refused(send(running, {"rows": rows}, "/predict/batch"))
    assert first["field"] == "rows"
    assert str(MAX_ROWS) in first["message"]


def test_a_row_that_is_no_object_is_named(running: ServerProcess, row: dict[str, Any]) -> None:
    assert refused(send(running, {"rows": [row, 7]}, "/predict/batch"))["field"] == "rows.1"


def test_a_far_too_long_batch_is_refused_at_once(running: ServerProcess) -> None:
    body = json.dumps({"rows": [{}] * 100_000}).encode()
    started = time.monotonic()
    assert refused(send(running, body, "/predict/batch"))["got"] == "100000 rows"
    assert time.monotonic() - started < 2


def test_a_body_over_the_limit_is_refused(running: ServerProcess) -> None:
    assert refused(send(running, b" " * (MAX_BODY + 1)), 413)["field"] == "body"
    assert refused(send(running, b" " * MAX_BODY, "/predict/batch"), 400)["field"] == "body"


def test_one_row_cannot_be_as_large_as_a_batch(running: ServerProcess, row: dict[str, Any]) -> None:
    first = refused(send(running, row | {"carrier": "x" * 70_000}), 413)
    assert (first["field"], first["message"]) == ("body", "one row is at most 65536 bytes")


@pytest.mark.parametrize("fields", [100, 3000])
def test_a_row_of_too_many_fields_is_refused_before_each_is_looked_at(
    running: ServerProcess, row: dict[str, Any], fields: int
) -> None:
    wide = row | {f"x{i}": 1 for i in range(fields)}
    assert refused(send(running, wide))["message"] == "too many fields"
    in_batch = refused(send(running, {"rows": [row, wide]}, "/predict/batch"))
    assert (in_batch["field"], in_batch["got"]) == ("rows.1", f"{len(wide)} fields")


def test_a_refusal_repeats_little_of_what_was_sent(running: ServerProcess, row: dict[str, Any]) -> None:
    for path, body in (("/predict", row | {"x" * 9000: 1}), ("/predict/batch", {"y" * 9000: 1})):
        answer = send(running, body, path)
        assert len(refused(answer)["field"]) <= 80
        assert len(answer.content) < 3000


def test_a_body_that_hides_its_length_is_limited_too(running: ServerProcess) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 2**20 + 1):
            yield b" " * 2**20

    answer = httpx.post(running.url + "/predict/batch", content=pieces(), timeout=30)
    assert refused(answer, 413)["field"] == "body"


def test_a_caller_that_hangs_up_is_no_error(running: ServerProcess, row: dict[str, Any]) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as caller:
        caller.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert running.post("/predict", row).status_code == 200
    assert "Traceback" not in running.log.read_text()


def test_too_many_batches_at_once_are_sent_away(start: Start, row: dict[str, Any]) -> None:
    server = start()
    with ExitStack() as places:
        for _ in range(BATCHES_WAITING):
            places.enter_context(server.parts.admitted())
        answer = server.post("/predict/batch", {"rows": [row]})
        assert "too many batches" in refused(answer, 503)["message"]
        assert answer.headers["retry-after"]
        assert server.post("/predict", row).status_code == 200
    assert server.post("/predict/batch", {"rows": [row]}).status_code == 200


def test_a_prediction_that_cannot_be_logged_is_not_given(
    start: Start, row: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.server.Spool", lambda folder, _limit: Spool(folder, limit=10))
    answer = start().post("/predict", row)
    assert "spool" in refused(answer, 503)["message"]
    assert answer.headers["retry-after"]


def test_a_full_batch_is_answered_in_its_order(running: ServerProcess, spec: ProblemSpec, row: dict[str, Any]) -> None:
    rows = [row | {spec.id: f"event {i}"} for i in range(MAX_ROWS)]
    found = running.post("/predict/batch", {"rows": rows}).json()["predictions"]
    assert [answer["event_id"] for answer in found] == [one[spec.id] for one in rows]
    assert len({answer["prediction_id"] for answer in found}) == MAX_ROWS


def test_unknown_paths_and_methods_get_the_same_kind_of_answer(running: ServerProcess) -> None:
    assert refused(running.get("/nope"), 404)["field"] == "path"
    assert refused(running.get("/predict"), 405)["field"] == "path"


def test_metrics_count_requests_rows_and_missing_values(running: ServerProcess, row: dict[str, Any]) -> None:
    def number(line: str) -> float:
        lines = [found for found in running.get("/metrics").text.splitlines() if found.startswith(line)]
        return float(lines[0].split()[-1]) if lines else 0.0

    rows = 'serving_predictions_total{role="champion",version="1"}'
    wrong = 'serving_requests_total{path="/predict",status="422"}'
    missing = 'serving_missing_total{feature="humid"}'
    before = [number(line) for line in (rows, wrong, missing)]
    running.post("/predict/batch", {"rows": [row, row, row | {"humid": 50}]})
    running.post("/predict", {})
    assert [number(line) for line in (rows, wrong, missing)] == [before[0] + 3, before[1] + 1, before[2] + 2]
    assert number('serving_release{role="champion",version="1"}') == 1
    assert number("serving_registry_up") == 1
