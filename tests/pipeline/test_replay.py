"""What a replayed day sends and publishes, also on days that the source does not have."""

from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from core.database import connect
from core.schema import ProblemSpec
from pipeline.replay import batch_rows, feed, requests
from problems import Problem
from tests.pipeline.test_validate import partition
from tests.toy import spec

FRIDAY = date(2013, 4, 5)
SATURDAY, SUNDAY, MONDAY = (FRIDAY + timedelta(days=n) for n in (1, 2, 3))


def weekday(day: date) -> dict[str, pd.DataFrame]:
    assert day.weekday() < 5, "nothing may ask for a day that is not covered"
    at = pd.Timestamp(day) + pd.to_timedelta([12, 23, 30], unit="h")  # the last on the next day
    return partition(day, rows=4) | {"weather": pd.DataFrame({"who": "a", "available_at": at, "rain": 1.0})}


def weather(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {"weather": tables["weather"]}


@pytest.fixture
def problem() -> Problem:
    found = Problem(spec())
    source = SimpleNamespace(covers=lambda day: day.weekday() < 5, partition=weekday, lookups=weather)
    found.__dict__["data"] = source
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return connect(f"sqlite:///{tmp_path / 'loop.db'}")


def test_live_look_ups_are_published_as_they_are_observed_also_around_a_gap(engine: Engine, problem: Problem) -> None:
    assert feed(engine, problem, FRIDAY) == 3  # one of Thursday's partition
    assert feed(engine, problem, SATURDAY) == 1  # of Friday's partition
    assert feed(engine, problem, SUNDAY) == 0
    assert feed(engine, problem, MONDAY) == 2


def test_a_day_that_the_source_does_not_have_sends_nothing(problem: Problem) -> None:
    assert len(requests(problem, FRIDAY)) == 4
    assert requests(problem, SATURDAY) == []


@pytest.mark.parametrize("change", [lambda t: t | {"events": t["events"].head(0)}, lambda t: {"labels": t["labels"]}])
def test_a_day_without_events_sends_nothing(change: Any, problem: Problem) -> None:
    problem.data.partition = lambda day: change(weekday(day))
    assert requests(problem, FRIDAY) == []


def test_a_problem_without_live_look_ups_publishes_nothing(engine: Engine, problem: Problem) -> None:
    del problem.data.lookups
    bare = {"lookups": {}, "features": {}, "slices": []}
    without = Problem(ProblemSpec.model_validate(problem.spec.model_dump() | bare))
    without.__dict__["data"] = problem.data
    assert feed(engine, without, FRIDAY) == 0


@pytest.mark.parametrize(("shape", "rows"), [([28, 28], 50), ([224, 224, 3], 1), ([100, 100], 20)])
def test_a_batch_has_fewer_rows_where_a_row_is_large(shape: list[int], rows: int) -> None:
    assert batch_rows(spec(image={"type": "array", "shape": shape, "description": "?"})) == rows
    assert batch_rows(spec()) == 50
