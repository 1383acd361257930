"""Validation: a bad partition is named with its reasons, and the good ones around it stay good."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import DataError
from core.schema import ProblemSpec
from pipeline import raw
from pipeline.validate import check, quarantined
from tests.toy import spec

DAYS = [date(2013, 4, 1) + timedelta(days=n) for n in range(5)]
BAD = "2013-04-03"


def partition(day: date, rows: int = 40) -> dict[str, pd.DataFrame]:
    at = pd.Timestamp(day) + pd.to_timedelta(np.arange(rows), unit="m") + pd.Timedelta(hours=6)
    ids = [f"{day}-{i}" for i in range(rows)]
    events = pd.DataFrame({"id": ids, "who": "a", "at": at, "at_utc_offset": -240, "size": 5.0, "kind": "red"})
    return {"events": events, "labels": pd.DataFrame({"id": ids, "late": np.arange(rows) % 2.0})}


@pytest.fixture
def partitions() -> raw.Partitions:
    return {str(day): partition(day) for day in DAYS}


def test_good_partitions_pass(partitions: raw.Partitions) -> None:
    assert check(spec(), partitions) == {str(day): [] for day in DAYS}


Change = Callable[[pd.DataFrame], pd.DataFrame]
ON_EVENTS: list[tuple[Change, str]] = [
    (lambda f: pd.concat([f, f.head(3)]), "id: 3 ids occur more than once"),
    (lambda f: f.assign(id=f["id"].str.replace(BAD, "2013-04-01")), "id: 40 ids are those of earlier days"),
    (lambda f: f.drop(columns="size"), "columns are absent: size"),
    (lambda f: f.drop(columns="at_utc_offset"), "columns are absent: at_utc_offset"),
    (lambda f: f.assign(size=-1.0), "size: 100.0% of the values are outside 0.0..100.0"),
    (lambda f: f.assign(size=101.0), "size: 100.0% of the values are outside 0.0..100.0"),
    (lambda f: f.assign(size="large"), "size: expected numbers, got str"),
    (lambda f: f.assign(at=f["at"].astype(str)), "at: expected UTC datetimes without a zone, got str"),
    (lambda f: f.assign(at=f["at"].dt.tz_localize("UTC")), "at: expected UTC datetimes without a zone"),
    (lambda f: f.assign(at_utc_offset=np.nan), "at_utc_offset: some values are missing"),
    (lambda f: f.assign(who=[None, *f["who"][1:]]), "who: 2.5% of the values are missing"),
    (lambda f: f.assign(at=f["at"] + pd.Timedelta(days=1)), "at: some events are not of 2013-04-03"),
    (lambda f: f.assign(at=f["at"] - pd.Timedelta(hours=3)), "at: some events are not of 2013-04-03"),
    (lambda f: f.assign(kind=3), "kind: expected text, got int64"),
    (lambda f: f.head(9), "9 events; a usual day has 40"),
    (lambda f: f.head(0), "0 events; a usual day has 40"),
]
ON_LABELS: list[tuple[Change, str]] = [
    (lambda f: f.assign(late=2.0), "late: 40 labels are neither 0 nor 1"),
    (lambda f: f.assign(late=[np.nan, *f["late"][1:]]), "late: 1 labels are neither 0 nor 1"),
    (lambda f: f.assign(late="no"), "late: expected numbers, got str"),
    (lambda f: f.assign(id=range(len(f))), "labels: id: expected text, got int64"),
    (lambda f: f.drop(columns="late"), "labels have no column late"),
    (lambda f: pd.concat([f, f.head(2)]), "id: 2 events are labelled more than once"),
]
FAULTS = [*(("events", *fault) for fault in ON_EVENTS), *(("labels", *fault) for fault in ON_LABELS)]


@pytest.mark.parametrize(("table", "change", "reason"), FAULTS, ids=[reason for *_, reason in FAULTS])
def test_a_bad_partition_is_quarantined_with_its_reason_and_no_other(
    table: str, change: Change, reason: str, partitions: raw.Partitions, tmp_path: Path
) -> None:
    partitions[BAD][table] = change(partitions[BAD][table])
    for day, tables in partitions.items():  # through files: a day with other columns or types must not stop the rest
        (tmp_path / day).mkdir()
        for name, frame in tables.items():
            frame.to_parquet(tmp_path / day / f"{name}.parquet", index=False)
    bad = quarantined(spec(), tmp_path)
    assert set(bad) == {BAD}
    assert [found for found in bad[BAD] if found.startswith(reason)], bad[BAD]
    assert len(bad[BAD]) == 1
    assert set(raw.read(tmp_path, leave_out=frozenset(bad))["events"]["partition"].astype(str)) == set(partitions) - {
        BAD
    }


def test_a_day_without_a_table_is_quarantined(partitions: raw.Partitions) -> None:
    del partitions[BAD]["labels"]
    assert check(spec(), partitions)[BAD] == ["table labels is absent"]


def test_a_problem_without_a_table_altogether_is_an_error(partitions: raw.Partitions) -> None:
    for tables in partitions.values():
        del tables["labels"]
    with pytest.raises(DataError, match="must give the tables events and labels; no day has labels"):
        check(spec(), partitions)


def test_a_few_values_out_of_range_are_left_to_the_models(partitions: raw.Partitions) -> None:
    partitions[BAD] = partition(date.fromisoformat(BAD), rows=200)
    partitions[BAD]["events"].loc[:1, "size"] = 1e6
    assert check(spec(), partitions)[BAD] == []


def test_missing_optional_values_are_no_fault_and_a_day_without_labels_is_good(partitions: raw.Partitions) -> None:
    partitions[BAD]["events"] = partitions[BAD]["events"].assign(size=np.nan, kind=None)
    partitions[BAD]["labels"] = partitions[BAD]["labels"].head(0)
    assert check(spec(), partitions)[BAD] == []


def test_an_event_that_comes_back_is_held_against_the_later_day_only(partitions: raw.Partitions) -> None:
    partitions["2013-04-05"]["events"].loc[0, "id"] = "2013-04-02-0"
    found = check(spec(), partitions)
    assert found["2013-04-02"] == []
    assert found["2013-04-05"] == ["id: 1 ids are those of earlier days"]


# other tasks, arrays, a time that requests may leave out --------------------------------------------------------------

CLASSES = {"task": "multiclass", "classes": ["a", "b", "c"], "gate": {"metric": "accuracy"}}
NUMBER = {"task": "regression", "gate": {"metric": "mae"}}
GRID = {"type": "array", "shape": [2, 2], "min": 0, "max": 255, "unit": "grey", "description": "?"}


def changed(given: ProblemSpec, **changes: Any) -> ProblemSpec:
    return ProblemSpec.model_validate(given.model_dump() | changes)


@pytest.mark.parametrize(
    ("changes", "good", "bad", "reason"),
    [
        ({"classes": ["no", "yes"]}, ["no", "yes"], ["no", "maybe"], "late: 1 labels are none of no, yes"),
        (CLASSES, ["a", "c"], [None, "d"], "late: 2 labels are none of a, b, c"),
        ({**CLASSES, "classes": ["1", "2", "3"]}, [1, 3], [4, 1], "late: 1 labels are none of 1, 2, 3"),
        (NUMBER, [-3.5, 1e9], [np.nan, np.inf], "late: 2 labels are not finite numbers"),
        (NUMBER, [1, 2], ["1", "much"], "late: expected numbers, got"),
    ],
)
def test_labels_are_judged_by_the_task(
    changes: dict[str, Any], good: list[Any], bad: list[Any], reason: str, partitions: raw.Partitions
) -> None:
    for tables in partitions.values():
        tables["labels"] = tables["labels"].head(2).assign(late=good)
    partitions[BAD]["labels"] = partitions[BAD]["labels"].assign(late=bad)
    found = check(changed(spec(), **changes), partitions)
    assert [reasons for day, reasons in found.items() if day != BAD] == [[]] * 4
    assert len(found[BAD]) == 1
    assert found[BAD][0].startswith(reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([[1, 2], [3, 4]], None),
        ([1, 2, 3, 4], None),
        ([1, 2, 3], "grid: 40 values are not 4 numbers"),
        ([1, 2, 3, np.nan], "grid: 40 values are not 4 numbers"),
        (["a", "b", "c", "d"], "grid: 40 values are not 4 numbers"),
        ("a picture", "grid: 40 values are not 4 numbers"),
        (None, "grid: 100.0% of the values are missing"),
        ([1, 2, 3, 256], "grid: 25.0% of the values are outside 0.0..255.0 grey"),
    ],
)
def test_arrays_hold_the_right_number_of_numbers_in_their_range(
    value: Any, reason: str | None, partitions: raw.Partitions, tmp_path: Path
) -> None:
    for day, tables in partitions.items():
        grid = value if day == BAD else [[1, 2], [3, 4]]
        tables["events"] = tables["events"].assign(grid=pd.Series([grid] * 40, dtype=object))
        (tmp_path / day).mkdir()
        for name, frame in tables.items():
            frame.to_parquet(tmp_path / day / f"{name}.parquet", index=False)
    assert quarantined(spec(grid=GRID), tmp_path) == ({BAD: [reason]} if reason else {})


def test_the_time_may_be_left_out_of_a_request_and_not_of_the_table(partitions: raw.Partitions) -> None:
    columns = spec().columns
    optional = {"columns": columns | {"at": columns["at"].model_copy(update={"optional": True})}}
    assert not any(check(changed(spec(), **optional), partitions).values())
    partitions[BAD]["events"].loc[0, ["at", "at_utc_offset"]] = None
    assert check(changed(spec(), **optional), partitions)[BAD] == ["at: 2.5% of the values are missing"]


def test_the_problem_says_how_small_a_day_may_be_and_how_much_may_be_out_of_range(partitions: raw.Partitions) -> None:
    partitions[BAD] = partition(date.fromisoformat(BAD), rows=3)
    partitions[BAD]["events"].loc[0, "size"] = -1.0
    assert check(changed(spec(), quality={"smallest_share": 0.05}), partitions)[BAD] == [
        "size: 33.3% of the values are outside 0.0..100.0"
    ]
    assert check(changed(spec(), quality={"smallest_share": 0, "out_of_range_share": 0.4}), partitions)[BAD] == []
    partitions[BAD]["events"] = partitions[BAD]["events"].head(0)
    assert check(changed(spec(), quality={"smallest_share": 0}), partitions)[BAD] == []
