"""Following the registry: canary, refusal, readiness, and what happens when it is down."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core import online
from core.database import connect
from core.predictions import PREDICTIONS
from core.schema import ProblemSpec
from serving.schemas import example
from tests.serving.conftest import PROBABILITY, Launch, Start
from tests.serving.load import Load
from tests.serving.models import FAULT_ABOVE, bundle, trigger
from tests.serving.process import Asked
from tests.serving.registry import FakeRegistry


def rows(spec: ProblemSpec, n: int, **change: Any) -> list[dict[str, Any]]:
    return [example(spec) | {spec.id: f"event {i}", spec.entity: f"entity {i}"} | change for i in range(n)]


def roles(server: Asked, batch: list[dict[str, Any]]) -> dict[str, str]:
    found = server.post("/predict/batch", {"rows": batch}).json()["predictions"]
    return {answer["event_id"]: answer["role"] for answer in found}


def test_a_promotion_is_followed(start: Start, registry: FakeRegistry, spec: ProblemSpec) -> None:
    server = start()
    registry.release("2")
    server.wait("/release", champion="2", loaded=["2"])
    assert server.post("/predict", example(spec)).json()["probability"] == PROBABILITY["2"]


def test_a_canary_gets_its_share_and_keeps_it(start: Start, registry: FakeRegistry, spec: ProblemSpec) -> None:
    registry.release("1", "2", 20)
    server = start()
    batch = rows(spec, 4000)
    first = roles(server, batch)
    chosen = {event for event, role in first.items() if role == "canary"}
    assert len(chosen) / len(first) == pytest.approx(0.2, abs=0.03)
    assert roles(server, batch[::-1]) == first
    assert server.post("/predict", batch[0]).json()["role"] == first["event 0"]
    registry.release("1", "2", 40)
    server.wait("/release", percent=40.0)
    more = {event for event, role in roles(server, batch).items() if role == "canary"}
    assert chosen < more


def test_a_challenger_without_a_share_answers_nothing(start: Start, registry: FakeRegistry) -> None:
    registry.release("1", "2", 0)
    assert start().get("/release").json()["canary"] is None


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_the_champion_answers_what_the_canary_cannot(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, fault: str, tmp_path: Path
) -> None:
    registry.release("1", fault, 100)
    server = start()
    found = server.post("/predict", rows(spec, 1, **{trigger(spec): FAULT_ABOVE + 1})[0]).json()
    assert (found["probability"], found["model_version"], found["role"]) == (PROBABILITY["1"], "1", "champion")
    server.stop()
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        logged = {row["role"]: row for row in connection.execute(select(PREDICTIONS)).mappings()}
    assert set(logged) == {"champion", "canary"}
    assert logged["champion"]["id"] == found["prediction_id"]
    assert logged["champion"]["score"] == PROBABILITY["1"]
    assert logged["canary"]["score"] is None
    assert logged["canary"]["error"]


def test_only_the_rows_that_fail_fall_back(start: Start, registry: FakeRegistry, spec: ProblemSpec) -> None:
    registry.release("1", "nan", 100)
    good, bad = rows(spec, 1)[0], rows(spec, 1, **{trigger(spec): FAULT_ABOVE + 1})[0] | {spec.id: "bad"}
    assert roles(start(), [good, bad]) == {"event 0": "canary", "bad": "champion"}


def test_a_champion_that_fails_is_no_error_of_the_caller(
    start: Start, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    registry.release("nan")
    server = start()
    answer = server.post("/predict/batch", {"rows": rows(spec, 2, **{trigger(spec): FAULT_ABOVE + 1})})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert [item["field"] for item in answer.json()["errors"]] == ["rows.0", "rows.1"]
    assert 'serving_failures_total{role="champion",version="nan"} 2.0' in server.get("/metrics").text


def test_a_wrong_digest_is_refused_and_the_champion_stays(start: Start, registry: FakeRegistry) -> None:
    server = start()
    registry.digests["2"] = "0" * 64
    registry.release("2")
    assert "version 2 is refused" in server.wait_reason("digest")
    assert server.get("/readyz").status_code == 200
    found = server.get("/release").json()
    assert found["champion"] == "1"
    assert "digest" in found["refused"]["2"]
    registry.release("1")
    server.wait("/readyz", ready=True, reason=None)


def test_a_model_that_fails_its_self_test_is_refused(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    folder = bundle(spec, tmp_path / "changed", 0.5)
    (folder / "example.json").write_text((folder / "example.json").read_text().replace("0.5", "0.6"))
    registry.register("3", folder)
    registry.release("1", "3", 50)
    server = start()
    assert "self-test" in server.wait_reason("self-test")
    assert server.get("/release").json()["canary"] is None


def test_a_refused_version_is_tried_again_when_the_release_changes(start: Start, registry: FakeRegistry) -> None:
    server, right = start(), registry.digests["2"]
    registry.digests["2"] = "0" * 64
    registry.release("2")
    server.wait_reason("digest")
    registry.digests["2"] = right
    registry.release("2", "1")
    server.wait("/release", champion="2", refused={})


def test_a_shadow_is_loaded_answers_nothing_and_is_remembered(
    start: Start, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    registry.release("1", "2", shadow=True)
    server = start()
    found = server.wait("/release", shadow="2")
    assert (found["champion"], found["canary"], found["percent"]) == ("1", None, 0.0)
    assert found["loaded"] == ["1", "2"]
    assert set(roles(server, rows(spec, 200)).values()) == {"champion"}
    server.stop()
    registry.up = False
    server = start()
    assert server.get("/release").json()["shadow"] == "2"
    registry.up = True
    registry.release("1", "2", 30)
    assert server.wait("/release", canary="2")["shadow"] is None
    registry.release("1")
    server.wait("/release", loaded=["1"])


def test_a_shadow_that_is_refused_is_said_and_costs_nothing(start: Start, registry: FakeRegistry) -> None:
    registry.digests["2"] = "0" * 64
    registry.release("1", "2", shadow=True)
    server = start()
    assert "version 2 is refused" in server.wait_reason("digest")
    assert server.get("/readyz").status_code == 200
    assert server.get("/release").json()["shadow"] is None


def test_without_a_champion_it_is_alive_and_not_ready(start: Start, registry: FakeRegistry, spec: ProblemSpec) -> None:
    registry.release(None)
    server = start(ready=False)
    assert server.wait("/healthz", status="ok")
    server.wait_reason("no champion")
    assert server.get("/readyz").status_code == 503
    answer = server.post("/predict", example(spec))
    assert answer.status_code == 503
    assert "no champion" in answer.json()["errors"][0]["message"]
    registry.release("1")
    server.ready()


def test_the_first_start_without_a_registry_says_so(start: Start, registry: FakeRegistry) -> None:
    registry.close()
    server = start(ready=False)
    server.wait("/healthz", status="ok")
    assert "MLflow does not answer" in server.wait_reason("MLflow")
    assert server.get("/readyz").json()["registry_reachable"] is False


def test_it_starts_from_its_cache_when_the_registry_is_down(
    start: Start, registry: FakeRegistry, spec: ProblemSpec
) -> None:
    registry.release("1", "2", 30)
    start().stop()
    registry.up = False
    server = start()
    found = server.get("/release").json()
    assert (found["champion"], found["canary"], found["percent"]) == ("1", "2", 30.0)
    assert server.get("/readyz").json()["registry_reachable"] is False
    assert server.post("/predict", example(spec)).status_code == 200
    registry.up = True
    registry.release("2")
    server.wait("/release", champion="2", registry_reachable=True)


def test_a_cache_that_was_changed_is_not_served(start: Start, registry: FakeRegistry, tmp_path: Path) -> None:
    start().stop()
    with (tmp_path / "home/serving/flights/models/1/contract.json").open("a") as file:
        file.write(" ")
    registry.up = False
    assert "cache" in start(ready=False).wait_reason("cache")


def test_a_registry_that_goes_away_changes_nothing(start: Start, registry: FakeRegistry, spec: ProblemSpec) -> None:
    server = start()
    registry.up = False
    server.wait("/readyz", registry_reachable=False, ready=True)
    assert server.post("/predict", example(spec)).json()["model_version"] == "1"


def test_new_lookup_rows_are_used_and_their_time_is_logged(start: Start, spec: ProblemSpec, tmp_path: Path) -> None:
    server = start()
    assert "humid" in server.post("/predict", example(spec)).json()["missing"]
    store = connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}")
    observed = {"key": "EWR", "available_at": 1364806800, "values": {"humid": 60.0, "dewp": None}}  # 09:00 UTC
    online.write(store, spec.name, "weather", [observed])
    server.wait("/release", lookups_id=1)
    answer = server.post("/predict", example(spec)).json()
    assert "humid" not in answer["missing"]
    assert "dewp" in answer["missing"]
    server.stop()
    with store.connect() as connection:
        found = connection.execute(select(PREDICTIONS).where(PREDICTIONS.c.id == answer["prediction_id"])).mappings()
        logged = dict(found.one())
    assert logged["as_of"]["weather"] == "2013-04-01T09:00:00Z"
    assert logged["as_of"]["load"] is None
    assert (logged["features"]["humid"], logged["features"]["dewp"]) == (60.0, None)
    assert logged["inputs"] == example(spec)
    assert str(logged["day"]) == "2013-04-01"


def test_every_swap_under_load_loses_no_request_and_no_prediction(
    launch: Launch, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    """Shadow, canary, promotion, roll-back, twice over; by a process, asked by clients that never pause."""
    server = launch()
    steps = [("1", "2", 0.0, True), ("1", "2", 50.0, False), ("2", None, 0.0, False), ("1", None, 0.0, False)]
    every = [row | {spec.id: f"of client {i}"} for i, row in enumerate(rows(spec, 4))]
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(server.url, row, clients=1)) for row in every]
        for champion, challenger, percent, shadow in steps * 2:
            registry.release(champion, challenger, percent, shadow)
            tried = {"shadow": challenger if shadow else None, "canary": challenger if percent else None}
            server.wait("/release", champion=champion, **tried)
            answered = sum(len(load.answers) for load in loads)
            while sum(len(load.answers) for load in loads) < answered + 100:
                time.sleep(0.01)
    answers = [answer for load in loads for answer in load.answers]
    assert [load.refused + ["broken"] * load.broken for load in loads] == [[]] * 4
    assert {(a["model_version"], a["probability"]) for a in answers} == set(PROBABILITY.items())
    assert {a["role"] for a in answers} == {"champion", "canary"}
    server.wait("/release", pending_rows=0)
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        stored = [dict(row) for row in connection.execute(select(PREDICTIONS)).mappings()]
    told = {a["prediction_id"]: (a["event_id"], a["model_version"], a["role"], a["probability"]) for a in answers}
    kept = [
        (r["id"], (r["event_id"], r["model_version"], r["role"], r["score"])) for r in stored if r["role"] != "shadow"
    ]
    assert len(kept) == len(told) == len(answers)
    assert dict(kept) == told
    assert any(row["role"] == "shadow" for row in stored)
