"""A taste of the drills of `make drill-serving` and of the fuzz of `make fuzz-serving`, seconds each."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.drills.disks import full_disk, full_spool
from tests.drills.ground import Ground, ground
from tests.drills.kills import kill_minus_nine
from tests.drills.pressure import Watched, flood
from tests.drills.report import Report
from tests.drills.stores import locked_sqlite, stopped_postgres
from tests.fuzz import bodies, openapi, wires
from tests.fuzz.judge import Judge

SEED = 4


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Ground]:
    with ground(SEED, tmp_path) as found:
        yield found


DRILLS: dict[str, Callable[[Ground], Report]] = {
    "killed": partial(kill_minus_nine, times=3),
    "the store stopped": partial(stopped_postgres, down_s=1.0),
    "the store locked": partial(locked_sqlite, down_s=1.0),
    "the disk full": partial(full_disk, full_s=1.0),
    "the spool full": partial(full_spool, full_s=1.0),
    "flooded": partial(flood, seconds=1.0, singles=40, batches=20, rows=1000),
}


@pytest.mark.parametrize("drill", DRILLS.values(), ids=DRILLS)
def test_nothing_that_was_acknowledged_is_lost_or_doubled(field: Ground, drill: Callable[[Ground], Report]) -> None:
    report = drill(field)
    assert report.wrong == []
    assert report.found.acknowledged == report.found.once > 0


@pytest.mark.parametrize("problem", ["flights", "digits"])
def test_bad_input_gets_a_reason_and_does_no_harm(problem: str, tmp_path: Path) -> None:
    with ground(SEED, tmp_path, problem) as found:
        server = found.server()
        judge = Judge(found, server.port)
        with Watched(server) as watched:
            for about, body in bodies.nasty(found.row, found.spec):
                judge.post(about, "/predict", body)
                judge.post(f"{about}, in a batch", "/predict/batch", b'{"rows": [' + body + b"]}")
            for _ in range(300):
                judge.post("damaged", "/predict", bodies.damaged(found.row, found.random))
        judge.closing(watched)
        assert judge.wrong == []


def test_what_is_no_http_does_no_harm(field: Ground) -> None:
    judge = Judge(field, field.server().port)
    wires.send_all(judge, field.row, patience_s=0.3)
    assert judge.wrong == []


def test_the_server_does_what_its_document_says(field: Ground) -> None:
    assert openapi.violations(field.server().url, SEED, cases=5, seconds=5) == ""
