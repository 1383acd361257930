"""What the demo must have seen, whatever the problem."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from core.registry import Event
from core.releases import Release
from core.schema import Demo
from pipeline.airflow_api import Run
from pipeline.demo import Seen, missing
from pipeline.replay import Traffic

DAY = date(2013, 4, 1)
SPAN = Demo(first_day=DAY, days=3)
RUN = Run("asset_triggered__1", "success", "asset_triggered", {}, None, None)
FIRST = Event("promote", "1", None, "lifecycle manual__1", "no champion yet", 1.0, True, {})
KEPT_OUT = Event("keep out", "2", "1", "lifecycle asset_triggered__1", "a tie", 2.0, True, {})
DECISIONS = ["ignore", "retrain", "ignore"]


def seen(**changes: Any) -> Seen:
    all_well: dict[str, Any] = {"traffic": {DAY: Traffic(10, 100)}, "served": [Release("1", None)]}
    return Seen(**{**all_well, "retrainings": [RUN], **changes})


def lacking(
    observed: Seen, decisions: list[str] = DECISIONS, events: list[Event] | None = None, span: Demo = SPAN
) -> list[str]:
    made = [{"decision": decision} for decision in decisions]
    return missing(observed, made, [FIRST, KEPT_OUT] if events is None else events, span)


@pytest.mark.parametrize("end", [KEPT_OUT, replace(KEPT_OUT, action="promote")])
def test_a_loop_that_closed_lacks_nothing_whether_the_challenger_won_or_not(end: Event) -> None:
    assert lacking(seen(), events=[FIRST, end]) == []


def test_a_span_that_expects_no_retraining_may_have_none() -> None:
    calm = seen(retrainings=[])
    assert lacking(calm, ["ignore"] * 3) == ["the monitor asked for a retraining"]
    assert lacking(calm, ["ignore"] * 3, span=SPAN.model_copy(update={"expect_retrain": False})) == []


def test_a_challenger_without_an_end_or_a_reason_is_missed() -> None:
    wanted = ["every challenger was promoted, or kept out with reasons"]
    assert lacking(seen(), events=[FIRST]) == wanted
    assert lacking(seen(), events=[FIRST, replace(KEPT_OUT, action="canary")]) == wanted
    assert lacking(seen(), events=[FIRST, replace(KEPT_OUT, reason="")]) == wanted


def test_a_decision_that_airflow_did_not_follow_is_missed() -> None:
    wanted = ["Airflow started a life cycle after every retrain decision"]
    assert lacking(seen(), ["retrain", "retrain", "ignore"]) == wanted
    by_hand = replace(RUN, run_id="manual__2")
    events = [FIRST, replace(KEPT_OUT, actor="lifecycle manual__2")]
    assert lacking(seen(retrainings=[by_hand]), events=events) == wanted


def test_failed_requests_and_missing_nights_are_missed() -> None:
    broken = seen(traffic={DAY: Traffic(10, 90, ["/predict: 500"])})
    assert lacking(broken, ["ignore", "retrain"]) == [
        "3 nights were judged",
        "no request failed",
    ]


def test_without_a_first_champion_the_reason_is_all_there_is_to_say() -> None:
    refused = replace(KEPT_OUT, version="1", before=None, reason="mae 22, trivial baseline 24")
    assert lacking(seen(served=[]), [], [refused]) == ["a first champion: mae 22, trivial baseline 24"]
