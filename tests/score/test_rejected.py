"""Rows that the server would refuse are set aside, with the reason; all others are scored."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.columns import to_rows
from core.errors import DataError
from pipeline.score.source import Files
from tests.score.conftest import Make
from tests.score.toys import Batch, events
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry

GOOD = {"id": "x", "who": "a", "at": "2013-04-10T10:00:00+02:00", "size": "7", "kind": "red"}
EXPECTED = "at: expected a date and time with a UTC offset"
BAD: list[tuple[str, Any, str]] = [
    ("id", None, "id: missing"),
    ("id", "", "id: missing"),
    ("id", "a" * 201, "id: longer than 200 letters"),
    ("id", "a\tb", "id: must not contain control characters"),
    ("who", None, "who: missing"),
    ("who", "ö" * 201, "who: longer than 200 letters"),
    ("at", None, "at: missing"),
    (
        "at",
        "yesterday",
        "at: expected a date and time with a UTC offset, such as 2013-04-01T00:00:00Z, got 'yesterday'",
    ),
    ("at", "2013-04-10T10:00:00", EXPECTED),
    ("at", "2013-04-10", EXPECTED),
    ("size", "101", "size: expected at most 100, got 101"),
    ("size", "-0.5", "size: expected at least 0, got -0.5"),
    ("size", "inf", "size: expected at most 100, got inf"),
    ("size", "big", "size: expected a number, got 'big'"),
    ("kind", "re\x07d", "kind: must not contain control characters"),
]
FINE: list[tuple[str, Any]] = [
    ("id", "ä" * 200),
    ("size", None),
    ("size", "1e2"),
    ("kind", None),
    ("kind", "größer, as a sentence"),
    ("at", "2013-04-10T10:00:00.75Z"),
    ("at", "2013-04-10 10:00:00-0330"),
]


def table(rows: list[dict[str, Any]], folder: Path, suffix: str = "parquet") -> Files:
    frame = pd.DataFrame(rows)
    path = folder / f"in.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    return Files(str(path))


def rejected(batch: Batch) -> list[dict[str, Any]]:
    return list(batch.output("scores.rejected.parquet").to_dict("records"))


@pytest.mark.parametrize("rows", [1, 300])
@pytest.mark.parametrize(("column", "value", "reason"), BAD)
def test_a_bad_row_is_set_aside_and_says_what_is_wrong(
    column: str, value: Any, reason: str, rows: int, batch: Make, tmp_path: Path
) -> None:
    made = batch()
    good = [GOOD | {"id": f"g{i}"} for i in range(rows)]
    tally = made.score(table([*good, GOOD | {column: value}, *good], tmp_path))
    assert (tally.rows, tally.scored, tally.rejected) == (2 * rows + 1, 2 * rows, 1)
    (found,) = rejected(made)
    assert (found["source"], found["row"]) == ("in.parquet", rows + 1)
    assert found["reason"].startswith(reason)
    assert made.output()["id"].tolist() == [row["id"] for row in [*good, *good]]


@pytest.mark.parametrize(("column", "value"), FINE)
def test_a_row_that_is_odd_and_right_is_scored(column: str, value: Any, batch: Make, tmp_path: Path) -> None:
    made = batch()
    tally = made.score(table([GOOD, GOOD | {column: value}], tmp_path))
    assert (tally.scored, tally.rejected) == (2, 0)


def test_the_server_refuses_what_is_rejected_and_answers_what_is_not(batch: Make, tmp_path: Path) -> None:
    made, registry = batch(), FakeRegistry("toy")
    registry.register("1", made.bundle)
    registry.release("1")
    server = ServerHere(tmp_path / "home", registry.url, made.problem)
    server.ready()
    for column, value, _ in BAD:
        assert server.post("/predict", _sent(GOOD | {column: value})).status_code == 422, (column, value)
    for column, value in FINE:
        assert server.post("/predict", _sent(GOOD | {column: value})).status_code == 200, (column, value)
    server.kill()
    registry.close()


def _sent(row: dict[str, Any]) -> dict[str, Any]:
    """A table's text of a number is a number in a request, where it can be one and JSON has it."""
    size = row["size"]
    try:
        return row | {"size": None if size is None else float(size) if size != "inf" else 1e308}
    except ValueError:
        return row


def test_every_mistake_of_a_row_is_named_and_each_row_is_counted_once(batch: Make, tmp_path: Path) -> None:
    made = batch()
    made.score(table([GOOD | {"size": "x", "who": None}, GOOD], tmp_path))
    (found,) = rejected(made)
    assert found["reason"] == "who: missing; size: expected a number, got 'x'"


def test_a_table_of_bad_rows_alone_has_an_empty_output(batch: Make, tmp_path: Path) -> None:
    made = batch()
    tally = made.score(table([GOOD | {"size": "x"}] * 5, tmp_path))
    assert (tally.scored, tally.rejected) == (0, 5)
    assert made.output().columns.tolist() == ["id", "probability", "model_version"]
    assert len(made.output()) == 0


def test_lines_of_a_csv_that_are_no_row_are_set_aside_too(batch: Make, tmp_path: Path) -> None:
    made = batch()
    source = table([GOOD, GOOD], tmp_path, "csv")
    with source.paths[0].open("a") as file:
        file.write("y,a\n")
    tally = made.score(source)
    assert (tally.rows, tally.scored, tally.rejected) == (2, 2, 1)
    assert [row["reason"] for row in rejected(made)] == ["line 4 has 2 values, the header 5"]


def test_a_table_without_a_needed_column_is_refused_as_a_whole(batch: Make, tmp_path: Path) -> None:
    made = batch()
    with pytest.raises(DataError, match="the table has no column at, who; it has id, size"):
        made.score(table([{"id": "x", "size": 1}], tmp_path))


def test_values_of_a_look_up_in_the_table_stand_and_are_checked(batch: Make, tmp_path: Path) -> None:
    made = batch()
    frame = events(600)
    frame["rain"] = 3.5
    frame.to_parquet(tmp_path / "in.parquet")
    tally = made.score(Files(str(tmp_path / "in.parquet")))
    assert tally.missing["weather"] == 0
    assert "rain" not in to_rows(made.problem.spec, frame)[0]
    before = made.output()["probability"]
    frame.assign(rain=1e13).to_parquet(tmp_path / "in.parquet")
    assert made.score(Files(str(tmp_path / "in.parquet")), "more.parquet").rejected == len(frame)
    frame.drop(columns="rain").to_parquet(tmp_path / "in.parquet")
    made.score(Files(str(tmp_path / "in.parquet")), "looked.parquet")
    assert (made.output("looked.parquet")["probability"] != before).any()
