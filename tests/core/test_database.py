"""The stores, on SQLite and on PostgreSQL: what is written twice is there once."""

import json
import threading
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from core import catalogue, decisions, online, predictions
from core.database import connect
from core.schema import LookupSpec

APRIL_1, APRIL_2, APRIL_3 = date(2013, 4, 1), date(2013, 4, 2), date(2013, 4, 3)
LOOKUP = LookupSpec(keys=["city"], tolerance_h=2, feed="live", values={"rain": {"description": "mm"}})


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = connect(store_url)
    yield engine
    engine.dispose()


def test_several_processes_may_start_on_an_empty_database_at_once(store_url: str) -> None:
    failed: list[Exception] = []

    def start() -> None:
        try:
            connect(store_url).dispose()
        except Exception as error:  # noqa: BLE001  whatever it is, it must not happen
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# catalogue ------------------------------------------------------------------------------------------------------------


def entry(md5: str, table: str = "events") -> dict[str, Any]:
    return {"table": table, "md5": md5, "size": 10, "rows": 2}


def test_the_same_partition_again_changes_nothing(engine: Engine) -> None:
    assert catalogue.add(engine, "toy", APRIL_1, [entry("a"), entry("b", "labels")]) == ["events", "labels"]
    assert catalogue.add(engine, "toy", APRIL_1, [entry("a"), entry("b", "labels")]) == []
    assert [row["version"] for row in catalogue.current(engine, "toy", APRIL_1, APRIL_1)] == [1, 1]


def test_a_changed_table_gets_a_new_version_and_the_others_keep_theirs(engine: Engine) -> None:
    catalogue.add(engine, "toy", APRIL_1, [entry("a"), entry("b", "labels")])
    assert catalogue.add(engine, "toy", APRIL_1, [entry("a2"), entry("b", "labels")]) == ["events"]
    found = {row["table"]: (row["version"], row["md5"]) for row in catalogue.current(engine, "toy", APRIL_1, APRIL_1)}
    assert found == {"events": (2, "a2"), "labels": (1, "b")}


def test_rows_that_change_back_are_the_newest_version_all_the_same(engine: Engine) -> None:
    for md5 in ("a", "b", "a"):
        catalogue.add(engine, "toy", APRIL_1, [entry(md5)])
    assert [(r["version"], r["md5"]) for r in catalogue.current(engine, "toy", APRIL_1, APRIL_1)] == [(3, "a")]


def test_current_holds_the_asked_days_of_the_asked_problem_in_order(engine: Engine) -> None:
    for day in (APRIL_3, APRIL_1, APRIL_2):
        catalogue.add(engine, "toy", day, [entry(f"md5 of {day}")])
    catalogue.add(engine, "other", APRIL_1, [entry("x")])
    assert [row["day"] for row in catalogue.current(engine, "toy", APRIL_1, APRIL_2)] == [APRIL_1, APRIL_2]


# online store ---------------------------------------------------------------------------------------------------------


def rain(at: int, value: float | None, key: str = "NYC") -> dict[str, Any]:
    return {"key": key, "available_at": at, "values": {"rain": value}}


def test_a_look_up_row_that_is_there_stands(engine: Engine) -> None:
    assert online.write(engine, "toy", "weather", [rain(100, 1.0), rain(200, 2.0)]) == 2
    assert online.write(engine, "toy", "weather", [rain(200, 99.0), rain(300, 3.0)]) == 1
    read = online.read(engine, "toy", {"weather": LOOKUP})["weather"]
    found, _ = read.asof(np.array(["NYC"] * 3), np.array([100, 200, 300], "datetime64[s]"))
    assert found["rain"].tolist() == [1.0, 2.0, 3.0]


def test_newest_grows_with_every_write_and_only_then(engine: Engine) -> None:
    assert online.newest(engine, "toy") == 0
    online.write(engine, "toy", "weather", [rain(100, 1.0)])
    first = online.newest(engine, "toy")
    online.write(engine, "toy", "weather", [rain(100, 1.0)])
    assert online.newest(engine, "toy") == first > 0
    online.write(engine, "toy", "weather", [rain(200, 1.0)])
    assert online.newest(engine, "toy") > first


def test_a_missing_value_comes_back_as_nan(engine: Engine) -> None:
    online.write(engine, "toy", "weather", [rain(100, None)])
    found, used = online.read(engine, "toy", {"weather": LOOKUP})["weather"].asof(
        np.array(["NYC"]), np.array([100], "datetime64[s]")
    )
    assert np.isnan(found["rain"]).all()
    assert used.astype(int).tolist() == [100]


def test_the_server_keeps_what_a_request_may_still_ask_for_and_no_more(engine: Engine) -> None:
    newest, day = 10 * 86400, 86400
    ages = {"just within": 2 * day + 2 * 3600, "too old": 2 * day + 2 * 3600 + 1}
    online.write(
        engine, "toy", "weather", [rain(newest, 1.0), *(rain(newest - age, 1.0, k) for k, age in ages.items())]
    )
    read = online.read(engine, "toy", {"weather": LOOKUP})["weather"]
    assert set(read.keys) == {"NYC", "just within"}


def test_an_empty_store_gives_look_ups_without_rows(engine: Engine) -> None:
    found, used = online.read(engine, "toy", {"weather": LOOKUP})["weather"].asof(
        np.array(["NYC"]), np.array([100], "datetime64[s]")
    )
    assert np.isnan(found["rain"]).all()
    assert np.isnat(used).all()


# predictions and outcomes ---------------------------------------------------------------------------------------------


def prediction(event: str, day: date = APRIL_1, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"id of {event}",
        "problem": "toy",
        "event_id": event,
        "entity": "someone",
        "day": day,
        "event_time": 1000,
        "served_at": 5.0,
        "model_version": "1",
        "role": "champion",
        "score": 0.5,
        "error": None,
        "latency_ms": 0.1,
        "inputs": {"city": "NYC"},
        "features": {"rain": None},
        "as_of": {"weather": None},
    }
    return row | changes


def outcome(event: str, known_on: date = APRIL_1, value: float = 1.0) -> dict[str, Any]:
    return {"problem": "toy", "event_id": event, "outcome": value, "known_on": known_on}


def test_lines_and_rows_are_stored_alike(engine: Engine) -> None:
    rows = [
        prediction("a", label="näh 'e", outputs=[0.25, 0.75]),
        prediction("b", score=None, error="it raised: ☂", label=None, outputs=None),
    ]
    predictions.add(engine, rows)
    read = predictions.PREDICTIONS.select().order_by(predictions.PREDICTIONS.c.event_id)
    with engine.begin() as connection:
        as_rows = connection.execute(read).all()
        connection.execute(predictions.PREDICTIONS.delete())
    lines = [json.dumps(row, default=str, ensure_ascii=False).encode() for row in rows]
    assert predictions.add_lines(engine, lines) == 2
    assert predictions.add_lines(engine, lines) == 0
    with engine.begin() as connection:
        assert connection.execute(read).all() == as_rows


@pytest.mark.parametrize("bad", [{"day": "never"}, {"entity": None}, {"inputs": None}])
def test_one_bad_line_and_none_is_stored(engine: Engine, bad: dict[str, Any]) -> None:
    lines = [json.dumps(row, default=str).encode() for row in (prediction("a"), prediction("b") | bad)]
    with pytest.raises((DBAPIError, ValueError)):
        predictions.add_lines(engine, lines)
    with pytest.raises((DBAPIError, ValueError)):
        predictions.add_lines(engine, [lines[0], b"{not json"])
    assert predictions.count(engine, "toy") == 0


def test_a_prediction_delivered_twice_is_stored_once(engine: Engine) -> None:
    assert predictions.add(engine, [prediction("a"), prediction("b")]) == 2
    assert predictions.add(engine, [prediction("b", score=0.9), prediction("c")]) == 1
    assert predictions.count(engine, "toy") == 3
    scores = {row["event_id"]: row["score"] for row in predictions.live(engine, "toy", APRIL_1, APRIL_1, APRIL_2)}
    assert scores["b"] == 0.5


def test_the_first_outcome_of_an_event_stands(engine: Engine) -> None:
    predictions.add(engine, [prediction("a")])
    assert predictions.add_outcomes(engine, [outcome("a", value=1.0)]) == 1
    assert predictions.add_outcomes(engine, [outcome("a", value=0.0), outcome("b")]) == 1
    (row,) = predictions.live(engine, "toy", APRIL_1, APRIL_1, known_before=APRIL_2)
    assert row["outcome"] == 1.0


def test_a_label_is_not_seen_before_its_partition_is_closed(engine: Engine) -> None:
    predictions.add(engine, [prediction("a"), prediction("b"), prediction("never")])
    predictions.add_outcomes(engine, [outcome("a", known_on=APRIL_1), outcome("b", known_on=APRIL_2)])

    def seen(known_before: date) -> dict[str, float | None]:
        rows = predictions.live(engine, "toy", APRIL_1, APRIL_1, known_before)
        return {row["event_id"]: row["outcome"] for row in rows}

    assert seen(APRIL_1) == {"a": None, "b": None, "never": None}
    assert seen(APRIL_2) == {"a": 1.0, "b": None, "never": None}
    assert seen(APRIL_3) == {"a": 1.0, "b": 1.0, "never": None}


def test_live_gives_answered_predictions_of_the_asked_days(engine: Engine) -> None:
    failed = prediction("failed", score=None, error="it broke")
    predictions.add(engine, [prediction("a"), prediction("late", APRIL_3), prediction("x", problem="other"), failed])
    assert [row["event_id"] for row in predictions.live(engine, "toy", APRIL_1, APRIL_2, APRIL_3)] == ["a"]


def test_by_version_counts_failures_too_and_starts_at_a_moment(engine: Engine) -> None:
    predictions.add(
        engine,
        [
            prediction("before", served_at=4.9),
            prediction("a", served_at=5.0),
            prediction("failed", score=None, error="it broke", model_version="2", role="canary"),
        ],
    )
    rows = predictions.by_version(engine, "toy", ["1", "2"], since=5.0)
    assert sorted((row["model_version"], row["error"]) for row in rows if row["error"]) == [("2", "it broke")]
    assert len(rows) == 2


def test_a_shadow_s_predictions_are_no_answers(engine: Engine) -> None:
    shadow = prediction("a", id="of the shadow", model_version="2", role="shadow", score=0.9)
    predictions.add(engine, [prediction("a"), shadow])
    predictions.add_outcomes(engine, [outcome("a")])
    (answered,) = predictions.live(engine, "toy", APRIL_1, APRIL_1, known_before=APRIL_2)
    assert answered["role"] == "champion"
    (day,) = predictions.daily(engine, "toy")
    assert (day["role"], day["answers"], day["labelled"]) == ("champion", 1, 1)
    assert predictions.count(engine, "toy") == 1
    rows = {row["role"]: row for row in predictions.by_version(engine, "toy", ["1", "2"], since=0.0)}
    assert (rows["shadow"]["score"], rows["shadow"]["outcome"]) == (0.9, 1.0)
    assert (rows["champion"]["score"], rows["champion"]["outcome"]) == (0.5, 1.0)


# decisions ------------------------------------------------------------------------------------------------------------


def test_a_day_decided_again_has_one_decision_the_last_one(engine: Engine) -> None:
    def decided(day: date, decision: str) -> dict[str, Any]:
        row = {"problem": "toy", "as_of": day, "made_at": 1.0, "decision": decision, "champion": "1"}
        return row | {"reasons": ["because"], "evidence": {"psi": None}, "report": None}

    for day, decision in ((APRIL_2, "ignore"), (APRIL_1, "ignore"), (APRIL_2, "retrain")):
        decisions.record(engine, decided(day, decision))
    assert [(r["as_of"], r["decision"]) for r in decisions.history(engine, "toy")] == [
        (APRIL_1, "ignore"),
        (APRIL_2, "retrain"),
    ]
    assert [row["as_of"] for row in decisions.history(engine, "toy", until=APRIL_2)] == [APRIL_1]
