"""A version in shadow: scored on what was answered, logged as such, and felt by nobody."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.database import connect
from core.predictions import PREDICTIONS
from core.schema import ProblemSpec
from serving import shadow
from serving.schemas import example
from tests.serving.conftest import PROBABILITY, Start
from tests.serving.models import FAULT_ABOVE, trigger
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry
from tests.serving.test_release import rows

OWN = {"id", "model_version", "role", "score", "label", "outputs", "error", "latency_ms"}


@pytest.fixture
def logged(tmp_path: Path) -> Callable[[ServerHere], dict[str, list[dict[str, Any]]]]:
    """Stop the server and read its log, by role and in the order of the events."""

    def read(server: ServerHere) -> dict[str, list[dict[str, Any]]]:
        server.stop()
        found: dict[str, list[dict[str, Any]]] = {"champion": [], "shadow": []}
        with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
            for row in connection.execute(select(PREDICTIONS).order_by(PREDICTIONS.c.event_id)).mappings():
                found[row["role"]].append(dict(row))
        return found

    return read


def counted(server: ServerHere, name: str) -> float:
    """A number of /metrics; 0 when it is not there yet."""
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def wait_until_scored(server: ServerHere, n: int) -> None:
    until = time.monotonic() + 20
    while counted(server, "serving_shadow_total") < n:
        assert time.monotonic() < until, server.get("/metrics").text
        time.sleep(0.02)


def test_every_row_is_scored_by_both_and_answered_by_the_champion(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, logged: Any
) -> None:
    registry.release("1", "2", shadow=True)
    server = start()
    answers = [server.post("/predict", row).json() for row in rows(spec, 20)]
    answers += server.post("/predict/batch", {"rows": rows(spec, 300)[20:]}).json()["predictions"]
    assert {(a["model_version"], a["role"], a["probability"]) for a in answers} == {("1", "champion", PROBABILITY["1"])}
    wait_until_scored(server, 300)
    assert counted(server, "serving_predictions_total") == 300
    found = logged(server)
    assert {row["id"] for row in found["champion"]} == {answer["prediction_id"] for answer in answers}
    assert {row["score"] for row in found["shadow"]} == {PROBABILITY["2"]}
    same = [{name: value for name, value in row.items() if name not in OWN} for row in found["champion"]]
    assert [{name: value for name, value in row.items() if name not in OWN} for row in found["shadow"]] == same


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_shadow_that_fails_changes_no_answer_and_only_its_bad_rows_are_failures(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, fault: str, logged: Any
) -> None:
    registry.release("1", fault, shadow=True)
    server = start()
    bad = rows(spec, 2, **{trigger(spec): FAULT_ABOVE + 1})
    batch = rows(spec, 10)[2:] + bad
    answers = server.post("/predict/batch", {"rows": batch}).json()["predictions"]
    assert {answer["probability"] for answer in answers} == {PROBABILITY["1"]}
    wait_until_scored(server, 10)
    assert f'serving_failures_total{{role="shadow",version="{fault}"}} 2.0' in server.get("/metrics").text
    found = logged(server)
    failed = [row["event_id"] for row in found["shadow"] if row["error"]]
    assert failed == [row[spec.id] for row in bad]
    assert [row["score"] for row in found["shadow"] if not row["error"]] == [0.75] * 8
    assert [row["error"] for row in found["champion"]] == [None] * 10


def test_a_slow_shadow_makes_no_answer_wait_and_drops_what_it_has_no_time_for(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = sum(column.size for column in spec.columns.values())
    monkeypatch.setattr(shadow, "WAITING_NUMBERS", 5 * columns)
    registry.release("1", "slow", shadow=True)
    server, taken = start(), []
    for row in rows(spec, 60):
        started = time.perf_counter()
        assert server.post("/predict", row).json()["model_version"] == "1"
        taken.append(time.perf_counter() - started)
    scored, dropped = counted(server, "serving_shadow_total"), counted(server, "serving_shadow_dropped_total")
    assert dropped >= 60 - 5 - scored - 1
    assert dropped > 0
    assert sorted(taken)[30] < 0.02  # the model alone takes longer than that
    assert len(logged(server)["champion"]) == 60


def test_while_the_store_is_far_behind_the_spool_is_for_what_was_answered(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "SPOOL_BYTES", -1)
    registry.release("1", "2", shadow=True)
    server = start()
    assert server.post("/predict", example(spec)).status_code == 200
    until = time.monotonic() + 20
    while counted(server, "serving_shadow_dropped_total") < 1:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert logged(server)["shadow"] == []


def test_a_shadow_with_a_bug_goes_on_with_the_next_rows(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.release("1", "2", shadow=True)
    server = start()
    with monkeypatch.context() as patched:
        patched.setattr(shadow, "as_lines", lambda _: 1 / 0)
        assert server.post("/predict", example(spec)).status_code == 200
        until = time.monotonic() + 20
        while counted(server, "serving_shadow_dropped_total") < 1:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert server.post("/predict", example(spec)).status_code == 200
    wait_until_scored(server, 1)
