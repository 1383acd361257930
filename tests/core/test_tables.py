"""Tables are read as they are said to be written, and rows are put into days and batches that stay as they are."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import days, tables
from core.config import ROOT
from core.errors import ConfigError, DataError
from tests import toy


def test_a_place_is_the_one_of_the_setting_or_the_one_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.place("data/x.csv") == str(ROOT / "data/x.csv")
    assert tables.place("/data/x.csv") == "/data/x.csv"
    assert tables.place("sqlite:///data/x.db") == f"sqlite:///{ROOT}/data/x.db"
    assert tables.place("sqlite:////data/x.db") == "sqlite:////data/x.db"
    with pytest.raises(ConfigError, match="LOOP_DATA_URL is not set"):
        tables.place(None)
    monkeypatch.setenv("LOOP_DATA_URL", "postgresql://there/db")
    assert tables.place("data/x.csv") == "postgresql://there/db"


def test_a_column_that_is_gone_is_named_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv cannot be read with the columns of problem\.yaml: .*'z'"):
        tables.read(str(tmp_path / "a.csv"), {"x": "x", "z": "z"})


@pytest.mark.parametrize(
    ("values", "decimal", "wanted"),
    [
        (["1", "2.5", None, "x"], ".", [1, 2.5, np.nan, np.nan]),
        (["1,234.5", "$ 1,000", "12%"], ".", [1234.5, 1000, 12]),
        (["1.234,5", "€ 7", "-0,25"], ",", [1234.5, 7, -0.25]),
        (["1e-3", "-5E2", "+3"], ".", [0.001, -500, 3]),
        ([1, 2, 3], ",", [1, 2, 3]),
    ],
)
def test_numbers_are_read_through_what_people_write_around_them(
    values: list[object], decimal: str, wanted: list[float]
) -> None:
    np.testing.assert_equal(tables.numbers(pd.Series(values), decimal).to_numpy(), np.array(wanted, np.float64))


def test_texts_of_whole_numbers_have_no_point() -> None:
    assert tables.texts(pd.Series([3.0, np.nan, 4.0])).tolist()[::2] == ["3", "4"]
    assert tables.texts(pd.Series([True, False])).tolist() == ["True", "False"]
    assert tables.texts(pd.Series(["", "a", None])).isna().tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("2013-04-01T12:30:00+02:00", tables.ISO),
        ("01/04/2013 10:30", "%d/%m/%Y %H:%M"),
        (1364812200, "unix s"),
        ("1364812200000", "unix ms"),
        (pd.Timestamp("2013-04-01 12:30", tz="Europe/Berlin"), tables.NATIVE),
    ],
)
def test_moments_are_utc_in_whole_seconds(value: object, form: str) -> None:
    read = tables.moments(pd.Series([value, None]), form)
    assert read.dtype == "datetime64[s]"
    assert read[0] == pd.Timestamp("2013-04-01 10:30")
    assert pd.isna(read[1])


def rows(n: int) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(n), "group": [f"g{i % 7}" for i in range(n)]})


def test_a_batch_counts_once_it_is_full_and_stays_as_it_is() -> None:
    first = date(2026, 1, 1)
    before, after = (days.Days.by_batch(rows(n), first, 10).numbered("id") for n in (25, 34))
    assert before.all == {date(2026, 1, 1), date(2026, 1, 2)}
    assert after.all == before.all | {date(2026, 1, 3)}
    pd.testing.assert_frame_equal(before.on(date(2026, 1, 2)), after.on(date(2026, 1, 2)))
    arrived = before.on(first)["arrived_at"]
    assert arrived.is_monotonic_increasing
    assert set(arrived.dt.date) == {first}


def test_rows_that_come_later_are_not_shuffled_among_earlier_ones() -> None:
    before, after = (days.shuffled(rows(n), seed=1, among=20) for n in (20, 30))
    assert before["x"].tolist() != list(range(20))
    assert sorted(before["x"]) == list(range(20))
    assert after["x"].tolist() == [*before["x"], *range(20, 30)]


def test_no_group_is_in_two_batches() -> None:
    together = days.grouped(rows(70), "group", seed=1, among=7)
    found = days.Days.by_batch(together, date(2026, 1, 1), 15, groups="group")
    seen = [set(found.on(day)["group"]) for day in sorted(found.all)]
    assert [len(groups) for groups in seen] == [2, 2, 2]
    assert len(set().union(*seen)) == 6


def test_rows_without_a_time_are_on_no_day() -> None:
    at = pd.to_datetime(pd.Series(["2026-01-02", None, "2026-01-01"]))
    found = days.Days.by_time(pd.DataFrame({"at": at, "x": [1, 2, 3]}), "at")
    assert found.rows["x"].tolist() == [3, 1]
    assert found.on(date(2026, 1, 3)).empty


def test_a_partition_has_no_outcome_among_its_events_and_no_missing_one_among_its_labels() -> None:
    spec = toy.spec()
    frame = pd.DataFrame({name: ["a", "b"] for name in spec.columns}).assign(at_utc_offset=0.0, late=[1.0, np.nan])
    made = days.partition(spec, frame, frame)
    assert "late" not in made["events"]
    assert made["labels"]["id"].tolist() == ["a"]
