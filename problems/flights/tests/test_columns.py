"""A day of flights is the same as requests and as a table, also when clocks change."""

import json
from datetime import date, datetime

import numpy as np
import pytest

from core.columns import from_frame, from_rows, to_rows
from problems import load


@pytest.mark.parametrize("day", [date(2013, 3, 9), date(2013, 3, 10), date(2013, 11, 3)])
def test_a_day_of_flights_is_the_same_as_requests_and_as_a_table(day: date) -> None:
    problem = load("flights")
    frame = problem.data.partition(day)["events"]
    sent = json.loads(json.dumps(to_rows(problem.spec, frame)))
    times = problem.spec.datetimes
    rows = [{name: datetime.fromisoformat(v) if name in times else v for name, v in row.items()} for row in sent]
    as_requests, as_table = from_rows(problem.spec, rows), from_frame(problem.spec, frame)
    assert set(as_requests) == set(as_table)
    for name, column in as_table.items():
        np.testing.assert_array_equal(as_requests[name], column, err_msg=name)
        assert as_requests[name].dtype.kind == column.dtype.kind, name
