"""Rows to columns and back: a request and a table's row become the same arrays."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.columns import as_text, distinct, event_day, flat, from_frame, from_rows, offset_name, stacked, to_rows
from core.schema import ProblemSpec
from tests.toy import spec as toy_spec

PIXELS = {"type": "array", "shape": [2, 3], "description": "?"}


def parsed(spec: ProblemSpec, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the server's parser hands them on: through JSON, datetimes as aware `datetime`."""
    sent = json.loads(json.dumps(rows))
    return [{n: datetime.fromisoformat(v) if n in spec.datetimes else v for n, v in row.items()} for row in sent]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert one[name].dtype.kind == other[name].dtype.kind, name


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


# arrays ---------------------------------------------------------------------------------------------------------------

NESTED = [[[1, 2, 3], [4, 5, 6]], [[0.5, 0, 0], [0, 0, 0]]]


def with_pixels(pixels: list[Any]) -> pd.DataFrame:
    return frame().drop(columns=["seen", "seen_utc_offset"]).assign(pixels=pixels)


@pytest.mark.parametrize("through_parquet", [False, True])
def test_an_array_is_the_same_nested_and_flat_and_as_a_request(through_parquet: bool, tmp_path: Path) -> None:
    spec = toy_spec(pixels=PIXELS)
    nested, flat_ones = with_pixels(NESTED), with_pixels([np.ravel(value).tolist() for value in NESTED])
    if through_parquet:  # which gives an array of objects, arrays each
        nested.to_parquet(tmp_path / "nested.parquet")
        nested = pd.read_parquet(tmp_path / "nested.parquet")
    columns = from_frame(spec, nested)
    assert columns["pixels"].tolist() == [[1, 2, 3, 4, 5, 6], [0.5, 0, 0, 0, 0, 0]]
    assert columns["pixels"].dtype == np.float32
    same(from_frame(spec, flat_ones), columns)
    same(from_rows(spec, parsed(spec, to_rows(spec, nested))), columns)
    same(from_rows(spec, parsed(spec, nested_rows(spec))), columns)


def nested_rows(spec: ProblemSpec) -> list[dict[str, Any]]:
    rows = to_rows(spec, with_pixels(NESTED))
    return [row | {"pixels": pixels} for row, pixels in zip(rows, NESTED, strict=True)]


def test_an_array_that_is_missing_in_a_table_is_all_nan_and_is_left_out_of_a_request() -> None:
    spec, some = toy_spec(pixels=PIXELS), with_pixels([NESTED[0], None])
    assert ["pixels" in row for row in to_rows(spec, some)] == [True, False]
    assert np.isnan(from_frame(spec, some)["pixels"][1]).all()


def test_no_arrays_have_their_width_and_what_is_none_is_refused() -> None:
    assert stacked([], 6).shape == (0, 6)
    with pytest.raises(TypeError):
        flat([1, None])


# types that tables have -----------------------------------------------------------------------------------------------


def test_whole_numbers_that_may_be_missing_and_categories_travel_like_others() -> None:
    spec = toy_spec()
    odd = frame().assign(size=pd.array([1, None], "Int64"), kind=pd.Categorical(["red", None]))
    columns = from_frame(spec, odd)
    np.testing.assert_array_equal(columns["size"], [1.0, np.nan])
    assert columns["kind"].tolist() == ["red", "__NA__"]
    same(from_rows(spec, parsed(spec, to_rows(spec, odd))), columns)


# many rows ------------------------------------------------------------------------------------------------------------


def many(kind: str) -> np.ndarray:
    rng, n = np.random.default_rng(0), 5000
    return {
        "short texts": rng.choice(["UA", "B6", "é", ""], n),
        "long texts": rng.choice([f"a rather long name {i}" for i in range(900)], n),
        "all different": np.array([f"{i:x}" for i in range(n)]),
        "numbers": rng.integers(-9, 9, n),
        "large numbers": rng.integers(-(2**62), 2**62, n),
        "hours": np.datetime64("2013-04-01T00", "h") + rng.integers(0, 500, n),
        "moments, some missing": np.array(["NaT", "2013-04-01T01"], "datetime64[s]")[rng.integers(0, 2, n)],
    }[kind]


KINDS = ["short texts", "long texts", "all different", "numbers", "large numbers", "hours", "moments, some missing"]


@pytest.mark.parametrize("kind", KINDS)
def test_distinct_values_are_each_found_once_and_put_together_they_are_the_column(kind: str) -> None:
    values = many(kind)
    where, which = distinct(values)
    np.testing.assert_array_equal(values[where][which], values)
    assert len(where) == len(np.unique(values))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 3, 5000])
def test_a_column_as_text_is_what_numpy_writes_row_by_row(kind: str, rows: int) -> None:
    values = many(kind)[:rows]
    assert as_text(values).tolist() == values.astype(str).tolist()
