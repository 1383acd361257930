"""What the canary answered decides: wait, promote or abort."""

import time
from typing import Any

import pytest

from pipeline.canary import Judgement, judge, watch
from tests.toy import spec

SPEC = spec()  # 50 requests, 30 minutes, 1 % errors, 3 times the latency, a shift of 0.1


def answers(version: str, good: int, failed: int = 0, score: float = 0.3, ms: float = 0.1) -> list[dict[str, Any]]:
    row = {"model_version": version, "role": "canary" if version == "2" else "champion", "latency_ms": ms}
    each = [{"score": score, "error": None}] * good + [{"score": None, "error": "it broke"}] * failed
    return [row | one | {"served_at": float(i)} for i, one in enumerate(each)]


def verdict(waited_min: float = 1.0, champion: dict[str, Any] | None = None, **canary: Any) -> Judgement:
    return judge(SPEC, answers("2", **canary) + answers("1", **{"good": 500, **(champion or {})}), "2", waited_min)


def test_too_few_requests_wait() -> None:
    found = verdict(good=49)
    assert (found.state, found.reason) == ("wait", "49 of 50 canary requests so far")


def test_enough_good_requests_promote() -> None:
    found = verdict(good=50)
    assert found.state == "promote"
    assert found.reason == "50 requests, 0 errors, mean prediction moved by 0.000"
    assert found.evidence["champion"]["requests"] == 500


@pytest.mark.parametrize(("good", "failed"), [(0, 5), (10, 5), (60, 2)])
def test_errors_abort_and_do_not_wait_for_the_full_number(good: int, failed: int) -> None:
    found = verdict(good=good, failed=failed)
    assert (found.state, found.reason) == ("abort", f"{failed} of {good + failed} canary requests failed")


def test_a_few_early_errors_wait_and_count_when_the_time_is_up() -> None:
    assert verdict(good=10, failed=4).state == "wait"
    assert verdict(good=10, failed=4, waited_min=30).state == "abort"


def test_an_error_within_what_is_allowed_is_allowed() -> None:
    assert verdict(good=199, failed=1).state == "promote"


def test_a_slow_canary_is_aborted_when_it_is_slow_beside_the_champion_and_the_budget() -> None:
    assert verdict(good=50, ms=4.9).state == "promote"  # 49 times the champion's, within the gate's budget
    found = verdict(good=50, ms=5.1)
    assert (found.state, found.reason) == ("abort", "50 of 50 requests took more than 5.0 ms a row")
    assert verdict(good=50, ms=5.9, champion={"ms": 2.0}).state == "promote"


def test_a_few_slow_answers_are_the_machine_s_and_a_slow_batch_is_one_request() -> None:
    good = answers("1", 500) + answers("2", 47)
    late = [row | {"served_at": row["served_at"] + 100} for row in answers("2", 3, ms=50)]
    assert judge(SPEC, good + late, "2", 1).state == "promote"
    more = [row | {"served_at": row["served_at"] + 200} for row in answers("2", 2, ms=50)]
    assert judge(SPEC, good + late + more, "2", 1).reason == "5 of 52 requests took more than 5.0 ms a row"
    batch = [row | {"served_at": 1.0} for row in answers("2", 100, ms=50)]
    assert judge(SPEC, answers("1", 500) + batch, "2", 1).state == "promote"


def test_a_shift_that_the_spread_of_the_predictions_explains_is_no_shift() -> None:
    wide = [row | {"score": float(i % 2)} for i, row in enumerate(answers("2", 50))]
    assert judge(SPEC, wide + answers("1", 500, score=0.35), "2", 1).state == "promote"


def test_a_shifted_prediction_aborts_either_way() -> None:
    for score in (0.19, 0.41):
        found = verdict(good=50, score=score)
        assert (found.state, found.reason) == ("abort", "mean prediction moved by 0.110, allowed 0.1")


def test_without_champion_traffic_there_is_nothing_to_shift_from() -> None:
    assert verdict(good=50, score=0.9, champion={"good": 0}).state == "promote"


def test_when_the_time_is_up_little_traffic_is_enough_and_none_leaves_the_gates_evidence() -> None:
    assert verdict(good=3, waited_min=29.9).state == "wait"
    assert verdict(good=3, waited_min=30).state == "promote"
    found = verdict(good=0, waited_min=31)
    assert (found.state, found.reason) == ("promote", "no traffic in 31 min: promoted on the gate's evidence alone")


def test_a_first_champion_needs_no_canary() -> None:
    assert watch("1", {"state": "champion", "since": time.time()})["state"] == "promote"
