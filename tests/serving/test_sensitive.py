"""What the server writes down of sensitive columns: in no file and in no line of its log is a value that was sent."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.database import connect
from core.errors import ConfigError
from core.predictions import PREDICTIONS
from core.schema import ProblemSpec
from core.sensitive import Mask
from serving.schemas import example
from serving.state import bucket
from tests import toy
from tests.serving.models import FAULT_ABOVE, bundle
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry
from tests.serving.toys import Toy

SALT = "a long and secret salt"
WHO, KIND, SIZE = "Erika Mustermann", "diabetes mellitus", 4711.25
SAID = (WHO, "Mustermann", KIND, "mellitus", "4711.25")


@pytest.fixture
def problem() -> Toy:
    hidden = {name: toy.COLUMNS[name] | {"sensitive": True, "max": None} for name in ("who", "size", "kind")}
    return Toy(ProblemSpec.model_validate(toy.spec(**hidden).model_dump() | {"classes": ["no", "yes"]}))


@pytest.fixture
def registry(problem: Toy, tmp_path: Path) -> Iterator[FakeRegistry]:
    fake = FakeRegistry("toy")
    for version, fault in (("1", ""), ("2", "raise")):
        fake.register(version, bundle(problem.spec, tmp_path / version, 0.25, fault))
    fake.release("1", "2", 50)
    yield fake
    fake.close()


@pytest.fixture
def server(problem: Toy, registry: FakeRegistry, tmp_path: Path) -> Iterator[ServerHere]:
    made = ServerHere(tmp_path / "home", registry.url, problem, salt=SALT)
    made.ready()
    yield made
    made.stop()


@pytest.fixture
def row(problem: Toy) -> dict[str, Any]:
    return example(problem.spec) | {"id": "e1", "who": WHO, "size": SIZE, "kind": KIND}


def test_no_file_and_no_log_holds_what_was_sent(
    server: ServerHere, row: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failing = row | {"size": FAULT_ABOVE + SIZE, "id": "e2"}
    bad = [row | {"size": WHO}, row | {WHO: 1}, row | {"at": WHO}, [WHO], row | {"rain": KIND}]
    assert server.post("/predict", row).status_code == 200
    assert (
        server.post("/predict/batch", {"rows": [failing | {"who": f"{WHO} {i}"} for i in range(50)]}).status_code == 200
    )
    assert [server.post("/predict", body).status_code for body in bad] == [422] * 5
    assert server.client.post("/predict", content=WHO).status_code == 400
    assert WHO in server.post("/predict", row | {"size": WHO}).text  # the caller is told what was sent
    spooled = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    server.stop()
    kept = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert {path.suffix for path in spooled} >= {".jsonl", ".db"}
    for path in {*spooled, *kept}:
        content = path.read_bytes() if path.exists() else b""
        assert [text for text in SAID if text.encode() in content] == [], path
    assert [text for text in SAID if text in caplog.text] == []
    assert "serving.guard" in caplog.text


def test_the_spool_holds_hashes_too(server: ServerHere, row: dict[str, Any]) -> None:
    lines: list[bytes] = []
    append = server.parts.spool.append
    server.parts.spool.append = lambda content, rows: (lines.append(content), append(content, rows))[1]  # type: ignore[method-assign]
    assert server.post("/predict", row).status_code == 200
    assert lines
    assert [text for text in SAID if text.encode() in b"".join(lines)] == []


def test_the_log_holds_hashes_by_which_rows_can_be_joined(
    server: ServerHere, problem: Toy, row: dict[str, Any], tmp_path: Path
) -> None:
    for event in ("e1", "e2"):
        server.post("/predict", row | {"id": event})
    server.stop()
    mask = Mask(problem.spec, SALT)
    logged = stored(tmp_path)
    assert {each["event_id"] for each in logged} == {"e1", "e2"}
    assert {each["entity"] for each in logged} == {mask.text("who", WHO)}
    assert {each["inputs"]["who"] for each in logged} == {mask.text("who", WHO)}
    assert {each["inputs"]["size"] for each in logged} == {mask.hidden("size", SIZE)}
    assert all(set(each["features"]) == {"rain"} for each in logged)


def test_a_model_that_fails_is_recorded_without_what_it_says(
    server: ServerHere, row: dict[str, Any], tmp_path: Path
) -> None:
    rows = [row | {"id": f"e{i}", "who": f"{WHO} {i}", "size": FAULT_ABOVE + SIZE} for i in range(50)]
    server.post("/predict/batch", {"rows": rows})
    server.stop()
    errors = {each["error"] for each in stored(tmp_path)} - {None}
    assert errors
    assert all(":" not in error for error in errors)


def test_a_canary_goes_by_the_true_entity(server: ServerHere, row: dict[str, Any]) -> None:
    rows = [row | {"id": f"e{i}", "who": f"{WHO} {i}"} for i in range(100)]
    found = server.post("/predict/batch", {"rows": rows}).json()["predictions"]
    for each, asked in zip(found, rows, strict=True):
        assert (each["role"] == "canary") == (bucket("2", asked["who"]) < 5000)


def test_without_a_salt_the_server_does_not_start(problem: Toy, registry: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sensitive columns \(kind, size, who\).*LOOP_SALT"):
        ServerHere(tmp_path / "home", registry.url, problem)


def stored(tmp_path: Path) -> list[dict[str, Any]]:
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        return [dict(each) for each in connection.execute(select(PREDICTIONS)).mappings()]
