"""The traffic that reached a challenger decides: wait, promote or abort."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.canary import Judgement, judge
from tests.toy import spec

DAY = date(2013, 4, 1)
SPEC = spec()  # 50 requests, 30 minutes, 1 % errors, 3 times the latency, a shift of 0.1


def answers(version: str, good: int, failed: int = 0, score: float = 0.3, ms: float = 0.1) -> list[dict[str, Any]]:
    row = {"model_version": version, "latency_ms": ms, "label": None, "outputs": None, "outcome": None, "day": DAY}
    row |= {"role": "canary" if version == "2" else "champion"}
    each = [{"score": score, "error": None}] * good + [{"score": None, "error": "it broke"}] * failed
    return [row | one | {"event_id": f"{version} {i}", "served_at": float(i)} for i, one in enumerate(each)]


def verdict(waited_min: float = 1.0, champion: dict[str, Any] | None = None, **canary: Any) -> Judgement:
    rows = answers("2", **canary) + answers("1", **{"good": 500, **(champion or {})})
    return judge(SPEC, rows, "2", "canary", waited_min)


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
    assert judge(SPEC, good + late, "2", "canary", 1).state == "promote"
    more = [row | {"served_at": row["served_at"] + 200} for row in answers("2", 2, ms=50)]
    assert judge(SPEC, good + late + more, "2", "canary", 1).reason == "5 of 52 requests took more than 5.0 ms a row"
    batch = [row | {"served_at": 1.0} for row in answers("2", 100, ms=50)]
    assert judge(SPEC, answers("1", 500) + batch, "2", "canary", 1).state == "promote"


def test_a_shift_that_the_spread_of_the_predictions_explains_is_no_shift() -> None:
    wide = [row | {"score": float(i % 2)} for i, row in enumerate(answers("2", 50))]
    assert judge(SPEC, wide + answers("1", 500, score=0.35), "2", "canary", 1).state == "promote"


def test_a_shifted_prediction_aborts_either_way() -> None:
    for score in (0.19, 0.41):
        found = verdict(good=50, score=score)
        assert (found.state, found.reason) == ("abort", "mean prediction moved by 0.110, allowed 0.1")


def drawn(version: str, scores: np.ndarray, labels: np.ndarray | None = None) -> list[dict[str, Any]]:
    said = [None] * len(scores) if labels is None else labels.tolist()
    rows = answers(version, len(scores))
    return [row | {"score": float(s), "label": name} for row, s, name in zip(rows, scores, said, strict=True)]


@pytest.mark.parametrize(("moved", "state"), [(0.0, "promote"), (10.0, "promote"), (60.0, "abort")])
def test_a_shift_of_numbers_is_in_standard_deviations_of_the_champions_answers(moved: float, state: str) -> None:
    """10 of 200 are 0.05 standard deviations, 60 are 0.3."""
    rng, given = np.random.default_rng(0), spec(task="regression")
    champion = drawn("1", rng.normal(1000, 200, 20_000))
    found = judge(given, drawn("2", rng.normal(1000 + moved, 200, 5000)) + champion, "2", "canary", 1)
    assert found.state == state
    assert "mean prediction moved by 0." in found.reason
    assert " standard deviations" in found.reason


def test_a_champion_that_always_says_the_same_has_no_spread_to_measure_by() -> None:
    given = spec(task="regression")
    assert (
        judge(given, drawn("2", np.full(60, 7.0)) + drawn("1", np.full(500, 7.0)), "2", "canary", 1).state == "promote"
    )


LABELS, SHARES = np.array(["early", "on time", "late"]), [0.2, 0.5, 0.3]


@pytest.mark.parametrize(("shares", "state"), [(SHARES, "promote"), ([0.9, 0.1, 0.0], "abort")])
def test_labels_whose_shares_moved_beyond_chance_abort(shares: list[float], state: str) -> None:
    """Even when the confidence is the same."""
    rng, sure = np.random.default_rng(0), np.full(500, 0.8)
    champion = drawn("1", sure, rng.choice(LABELS, 500, p=SHARES))
    found = judge(
        spec(task="multiclass"), drawn("2", sure[:100], rng.choice(LABELS, 100, p=shares)) + champion, "2", "canary", 1
    )
    assert found.state == state
    assert state == "promote" or "of the labels moved" in found.reason


def test_chance_alone_aborts_hardly_ever_for_its_labels() -> None:
    rng, sure = np.random.default_rng(0), np.full(500, 0.8)
    names = np.array([str(digit) for digit in range(10)])
    states = [
        judge(
            spec(task="multiclass"),
            drawn("2", sure[:50], rng.choice(names, 50)) + drawn("1", sure, rng.choice(names, 500)),
            "2",
            "canary",
            1,
        ).state
        for _ in range(200)
    ]
    assert set(states) == {"promote"}


def test_without_champion_traffic_there_is_nothing_to_shift_from() -> None:
    assert verdict(good=50, score=0.9, champion={"good": 0}).state == "promote"


def test_when_the_time_is_up_little_traffic_is_enough_and_none_leaves_the_gates_evidence() -> None:
    assert verdict(good=3, waited_min=29.9).state == "wait"
    assert verdict(good=3, waited_min=30).state == "promote"
    found = verdict(good=0, waited_min=31)
    assert (found.state, found.reason) == ("promote", "no traffic in 31 min: promoted on the gate's evidence alone")


# in shadow ------------------------------------------------------------------------------------------------------------


def shadowed(n: int, by: float = 0.0, **change: Any) -> list[dict[str, Any]]:
    """n rows that both scored, spread over [0, 1]; the shadow higher by `by`."""
    champion = [row | {"score": i / n} for i, row in enumerate(answers("1", n))]
    mine = {"model_version": "2", "role": "shadow", **change}
    return champion + [row | mine | {"score": row["score"] + by} for row in champion]


def in_shadow(rows: list[dict[str, Any]], waited_min: float = 1.0) -> Judgement:
    return judge(SPEC, rows, "2", "shadow", waited_min)


def test_a_shadow_needs_its_rows_and_then_passes() -> None:
    assert in_shadow(shadowed(49)).reason == "49 of 50 shadow requests so far"
    found = in_shadow(shadowed(50))
    assert (found.state, found.evidence["shadow"]["requests"]) == ("promote", 50)


def test_what_a_shadow_says_is_no_answer_of_the_canary_s_champion() -> None:
    canary = answers("2", 50)
    assert judge(SPEC, shadowed(500, 0.5) + canary, "2", "canary", 1).evidence["champion"]["requests"] == 500


def test_a_shift_in_shadow_is_seen_row_by_row_where_the_spread_would_hide_it() -> None:
    found = in_shadow(shadowed(50, by=0.11))
    assert (found.state, found.reason) == ("abort", "mean prediction moved by 0.110, allowed 0.1")
    spread = [row | {"role": "canary"} if row["role"] == "shadow" else row for row in shadowed(50, by=0.11)]
    assert judge(SPEC, spread, "2", "canary", 1).state == "promote"


def test_a_shadow_that_fails_or_is_slow_is_aborted() -> None:
    broken = [row | {"score": None, "error": "?"} if row["role"] == "shadow" else row for row in shadowed(5)]
    assert in_shadow(broken).reason == "5 of 5 shadow requests failed"
    assert in_shadow(shadowed(50, latency_ms=6.0)).reason == "50 of 50 requests took more than 5.0 ms a row"


# matured labels -------------------------------------------------------------------------------------------------------


def matured(rows: list[dict[str, Any]], right: dict[str, float], days: int = 1) -> list[dict[str, Any]]:
    """Half of the outcomes are 1. A version's score is right so far: 0 knows nothing, 0.4 much, -0.4 the opposite."""
    out = []
    for i, row in enumerate(rows):
        y = i % 2
        score = 0.5 + (2 * y - 1) * right[row["model_version"]] + 0.02 * (i % 5)
        out.append(row | {"outcome": float(y), "score": score, "day": DAY + timedelta(days=i // 2 % days)})
    return out


def judged(rows: list[dict[str, Any]], **canary: Any) -> Judgement:
    given = SPEC.model_copy(update={"canary": SPEC.canary.model_copy(update=canary)})
    return judge(given, rows, "2", rows[-1]["role"], 1)


@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("role", ["shadow", "canary"])
def test_a_model_that_is_confidently_wrong_is_aborted_by_its_matured_labels(role: str, days: int) -> None:
    """Although its mean prediction is the champion's."""
    rows = shadowed(100) if role == "shadow" else answers("1", 500) + answers("2", 100)
    found = judged(matured(rows, {"1": 0.3, "2": -0.3}, days))
    assert found.state == "abort"
    assert "log_loss is worse by 1." in found.reason
    assert "on 100 matured labels, t = " in found.reason
    assert judged(matured(rows, {"1": 0.3, "2": 0.3}, days)).state == "promote"
    assert judged(matured(rows, {"1": 0.3, "2": 0.35}, days)).state == "promote"


def test_a_few_labels_are_no_evidence() -> None:
    rows = matured(answers("1", 500) + answers("2", 100), {"1": 0.3, "2": -0.3})
    few = [row if i < 549 else row | {"outcome": None} for i, row in enumerate(rows)]
    assert judged(few).state == "promote"
    assert judged(few, min_requests=49).state == "abort"


def test_a_problem_may_wait_for_labels() -> None:
    rows = matured(answers("1", 500) + answers("2", 100), {"1": 0.3, "2": 0.3})
    few = [row if i < 550 else row | {"outcome": None} for i, row in enumerate(rows)]
    found = judged(few, min_labels=60)
    assert (found.state, found.reason) == ("wait", "50 of 60 labels so far")
    assert judged(rows, min_labels=60).state == "promote"


def test_labels_of_classes_and_of_numbers_are_judged_by_their_own_loss() -> None:
    rng, y = np.random.default_rng(0), np.arange(200) % 3
    sure = np.eye(3)[y] * 0.8 + 0.1 * np.ones(3) * 2 / 3
    wrong = np.roll(sure, 1, axis=1)
    for task, told, worse in (("multiclass", (sure, wrong), "log_loss"), ("regression", (y + 0.1, y - 0.9), "mae")):
        given, rows = spec(task=task), []
        for version, said in zip(("1", "2"), told, strict=True):
            noisy = said + rng.normal(0, 0.01, np.shape(said))
            best = noisy.max(axis=1) if noisy.ndim == 2 else noisy * 0  # their shift is not what is tested
            row = zip(answers(version, 200), noisy.tolist(), best.tolist(), y.tolist(), strict=True)
            rows += [r | {"outputs": o, "score": s if task == "multiclass" else o, "outcome": t} for r, o, s, t in row]
        limits = given.canary.model_copy(update={"max_shift": 9.0})
        found = judge(given.model_copy(update={"canary": limits}), rows, "2", "canary", 1)
        assert found.reason.startswith(f"{worse} is worse by "), task


def test_chance_alone_aborts_hardly_ever_for_its_labels_losses() -> None:
    rng, states = np.random.default_rng(0), []
    for _ in range(300):
        rows = answers("1", 450) + answers("2", 60)
        p = rng.beta(2, 5, len(rows))
        y = (rng.random(len(rows)) < p).astype(float)
        states.append(judged([r | {"score": a, "outcome": b} for r, a, b in zip(rows, p, y, strict=True)]).state)
    assert states.count("abort") <= 3
