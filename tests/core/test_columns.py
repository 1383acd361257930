"""Rows to columns and back: a request and a table's row become the same arrays."""

import json
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.clock import cutoff, replayed
from core.columns import event_day, from_frame, from_rows, offset_name, to_rows
from core.schema import Clock, ProblemSpec
from problems import load
from tests.toy import spec as toy_spec

NEW_YORK = Clock(timezone="America/New_York", cutoff_hour=4, replay_year=2013)


def parsed(spec: ProblemSpec, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the server's parser hands them on: through JSON, datetimes as aware `datetime`."""
    sent = json.loads(json.dumps(rows))
    return [{n: datetime.fromisoformat(v) if n in spec.datetimes else v for n, v in row.items()} for row in sent]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert one[name].dtype.kind == other[name].dtype.kind, name


@pytest.mark.parametrize("day", [date(2013, 3, 9), date(2013, 3, 10), date(2013, 11, 3)])
def test_a_day_of_flights_is_the_same_as_requests_and_as_a_table(day: date) -> None:
    problem = load("flights")
    frame = problem.data.partition(day)["events"]
    same(from_rows(problem.spec, parsed(problem.spec, to_rows(problem.spec, frame))), from_frame(problem.spec, frame))


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": ["a", "b"],
            "who": ["x", "y"],
            "at": pd.to_datetime(["2013-03-10 04:30", "2013-03-10 12:00"]).as_unit("s"),
            "at_utc_offset": [-300.0, -240.0],
            "size": [1.5, np.nan],
            "kind": ["red", None],
            "seen": pd.to_datetime([None, "2013-03-10 11:00"]).as_unit("s"),
            "seen_utc_offset": [np.nan, 330.0],
        }
    )


def test_missing_values_are_left_out_of_a_request_and_come_back_as_missing() -> None:
    spec = toy_spec(seen={"type": "datetime", "description": "?", "example": "2013-04-01T00:00:00Z", "optional": True})
    rows = to_rows(spec, frame())
    assert set(rows[1]) == {"id", "who", "at", "seen"}
    assert "seen" not in rows[0]
    same(from_rows(spec, parsed(spec, rows)), from_frame(spec, frame()))


def test_a_local_clock_is_kept_whatever_its_offset() -> None:
    spec = toy_spec()
    assert [row["at"] for row in to_rows(spec, frame())] == ["2013-03-09T23:30:00-05:00", "2013-03-10T08:00:00-04:00"]


def test_a_value_of_a_look_up_is_a_column_only_when_somebody_sent_it() -> None:
    spec = toy_spec()
    row = {"id": "a", "who": "x", "at": datetime.fromisoformat("2013-04-01T00:00:00+00:00"), "size": 1, "kind": "red"}
    assert "rain" not in from_rows(spec, [row])
    columns = from_rows(spec, [row, row | {"rain": 3.5}])
    np.testing.assert_array_equal(columns["rain"], [np.nan, 3.5])


def test_no_rows_are_columns_of_no_length() -> None:
    spec = toy_spec()
    assert {len(column) for column in from_rows(spec, []).values()} == {0}


def test_the_day_of_an_event_is_the_one_on_its_local_clock_also_when_clocks_change() -> None:
    spec = toy_spec()
    moments = ["2013-03-10T23:59:00-04:00", "2013-03-10T00:30:00-05:00", "2013-11-03T23:59:00-05:00"]
    moments += ["2013-11-04T00:00:00-05:00", "2013-06-01T01:00:00+09:00"]
    rows = [{"at": datetime.fromisoformat(moment)} for moment in moments]
    wanted = ["2013-03-10", "2013-03-10", "2013-11-03", "2013-11-04", "2013-06-01"]
    columns = from_rows(spec, rows)
    assert event_day(spec, columns).astype(str).tolist() == wanted
    assert columns[offset_name("at")].tolist() == [-240, -300, -300, -300, 540]


# clock ----------------------------------------------------------------------------------------------------------------


def test_a_replay_takes_the_same_day_of_its_year_and_28_for_29_february() -> None:
    assert replayed(NEW_YORK, date(2026, 11, 21)) == date(2013, 11, 21)
    assert replayed(NEW_YORK, date(2028, 2, 29)) == date(2013, 2, 28)
    assert replayed(NEW_YORK, date(2028, 2, 28)) == date(2013, 2, 28)
    assert replayed(Clock(replay_year=2012), date(2028, 2, 29)) == date(2012, 2, 29)
    assert replayed(Clock(), date(2028, 2, 29)) == date(2028, 2, 29)


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        (date(2013, 3, 9), "2013-03-09T09:00:00"),
        (date(2013, 3, 10), "2013-03-10T08:00:00"),
        (date(2013, 11, 2), "2013-11-02T08:00:00"),
        (date(2013, 11, 3), "2013-11-03T09:00:00"),
    ],
)
def test_the_cut_off_keeps_its_local_hour_when_clocks_change(day: date, utc: str) -> None:
    assert str(cutoff(NEW_YORK, day)) == utc


def test_cut_offs_are_in_order_every_day_of_a_year() -> None:
    days = [date(2013, 1, 1) + timedelta(days=n) for n in range(365)]
    hours = np.diff(np.array([cutoff(NEW_YORK, day) for day in days])).astype("timedelta64[h]").astype(int)
    assert sorted(set(hours.tolist())) == [23, 24, 25]
