"""What the judge lets pass, and what it does not."""

import json

from tests.e2e import judge
from tests.e2e.judge import Phase, Second

ONE, BOTH = frozenset({"1"}), frozenset({"1", "2"})
CALM = Phase("calm", 100.5, 103.2, ONE, must=ONE)
UPDATE = Phase("update", 103.2, 106.0, BOTH, must=BOTH)


def second(at: int, again: str = "", lost: str = "", **ok: int) -> Second:
    by = {name.removeprefix("v"): n for name, n in ok.items()}
    return Second(at, by, [again] if again else [], [lost] if lost else [])


GOOD = [*(second(at, v1=40) for at in range(100, 104)), *(second(at, v1=20, v2=20) for at in range(104, 107))]


def instead(*others: Second) -> list[Second]:
    """The good seconds, but for these."""
    return sorted([*(s for s in GOOD if s.at not in {o.at for o in others}), *others], key=lambda s: s.at)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert judge.faults([CALM, UPDATE], GOOD) == []


def test_one_lost_request_is_one_too_many() -> None:
    (fault,) = judge.faults([CALM, UPDATE], instead(second(105, lost="new connection: refused", v1=20, v2=19)))
    assert fault == "update, at 105: a request was lost: new connection: refused"


def test_one_answer_of_a_wrong_version_is_one_too_many() -> None:
    (fault,) = judge.faults([CALM, UPDATE], instead(second(101, v1=39, v2=1)))
    assert fault == "calm, at 101: version 2 answered 1 requests"


def test_a_second_that_two_phases_share_may_have_the_answers_of_both() -> None:
    assert judge.faults([CALM, UPDATE], instead(second(103, v1=30, v2=10))) == []


def test_a_repeated_request_is_a_fault_unless_a_server_was_killed() -> None:
    seen = instead(second(105, again="kept connection: reset", v1=20, v2=20))
    assert judge.faults([CALM, UPDATE], seen) == [
        "update, at 105: a request had to be repeated: kept connection: reset"
    ]
    killed = Phase("update", 103.2, 106.0, BOTH, must=BOTH, breaks=True)
    assert judge.faults([CALM, killed], seen) == []


def test_a_lost_request_is_a_fault_also_when_a_server_was_killed_and_between_phases() -> None:
    killed = Phase("kill", 100.5, 103.2, ONE, breaks=True)
    seen = [second(101, lost="timeout", v1=1), second(102, v1=1), second(104, lost="timeout")]
    assert judge.faults([killed], seen) == [
        "kill, at 101: a request was lost: timeout",
        "between phases, at 104: a request was lost: timeout",
    ]


def test_a_version_that_was_to_be_seen_and_was_not_is_a_fault() -> None:
    seen = [second(at, v1=40) for at in range(100, 107)]
    assert judge.faults([CALM, UPDATE], seen) == ["update: version 2 never answered"]


def test_silence_proves_nothing() -> None:
    assert judge.faults([CALM], []) == ["calm: nobody asked, so nothing is known", "calm: version 1 never answered"]
    gap = [second(100, v1=1), second(101, v1=1), second(104, v1=1)]
    assert judge.faults([CALM], gap) == ["no request began between 101 and 104"]


def test_the_load_s_lines_are_read_among_others() -> None:
    line = {"at": 100, "ok": {"1": 40}, "again": [], "lost": ["why"]}
    assert judge.read(["a warning", json.dumps(line), ""]) == [Second(100, {"1": 40}, [], ["why"])]


def test_the_table_counts_by_phase() -> None:
    lines = judge.table([CALM, UPDATE], GOOD).splitlines()
    assert lines[1].split() == ["calm", "2.7", "0", "0", "160", "by", "version", "1"]
    assert lines[2].split() == ["update", "2.8", "0", "0", "100", "by", "version", "1,", "60", "by", "version", "2"]
