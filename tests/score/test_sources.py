"""The same rows, wherever they lie, get the same predictions in the order of the table."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sql
from sqlalchemy.pool import NullPool

from core import tables
from core.columns import to_rows
from core.errors import DataError
from pipeline.score import source
from pipeline.score.source import Files, Query, Source
from tests.score.conftest import Make
from tests.score.toys import Batch, events

CHUNK = 700
ROWS = 3000


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CHUNK", CHUNK)


def travelling(frame: pd.DataFrame, batch: Batch) -> pd.DataFrame:
    """As rows are written as text: moments in ISO 8601 with their offset."""
    return pd.DataFrame(to_rows(batch.problem.spec, frame))


def csv(frame: pd.DataFrame, batch: Batch, folder: Path) -> Source:
    travelling(frame, batch).to_csv(folder / "in.csv", index=False)
    return Files(str(folder / "in.csv"))


def folder_of_csv(frame: pd.DataFrame, batch: Batch, folder: Path) -> Source:
    rows = travelling(frame, batch)
    (folder / "in").mkdir()
    for i, start in enumerate(range(0, len(rows), 800)):
        rows[start : start + 800].to_csv(folder / "in" / f"{i}.csv.gz", index=False)
    return Files(str(folder / "in"))


def row_groups(frame: pd.DataFrame, batch: Batch, folder: Path) -> Source:
    pq.write_table(pa.Table.from_pandas(frame), folder / "in.parquet", row_group_size=333)
    return Files(str(folder / "in.parquet"))


def with_a_zone(frame: pd.DataFrame, batch: Batch, folder: Path) -> Source:
    frame.drop(columns="at_utc_offset").assign(at=frame["at"].dt.tz_localize("UTC")).to_parquet(folder / "in.parquet")
    return Files(str(folder / "in.parquet"))


def texts_in_parquet(frame: pd.DataFrame, batch: Batch, folder: Path) -> Source:
    travelling(frame, batch).astype({"kind": "category"}).to_parquet(folder / "in.parquet")
    return Files(str(folder / "in.parquet"))


WRITERS: list[Callable[[pd.DataFrame, Batch, Path], Source]] = [csv, folder_of_csv, row_groups, with_a_zone]
WRITERS.append(texts_in_parquet)


@pytest.fixture
def wanted(batch: Make, tmp_path: Path) -> pd.DataFrame:
    events(ROWS).to_parquet(tmp_path / "plain.parquet")
    made = batch()
    made.score(Files(str(tmp_path / "plain.parquet")), "wanted.parquet")
    return made.output("wanted.parquet")


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_rows_get_the_same_predictions_however_they_are_written(
    write: Callable[[pd.DataFrame, Batch, Path], Source], batch: Make, wanted: pd.DataFrame, tmp_path: Path
) -> None:
    made = batch()
    tally = made.score(write(events(ROWS), made, tmp_path))
    assert (tally.scored, tally.rejected) == (ROWS, 0)
    pd.testing.assert_frame_equal(made.output(), wanted)


def test_an_output_of_csv_says_the_same(batch: Make, wanted: pd.DataFrame, tmp_path: Path) -> None:
    made = batch()
    made.score(Files(str(tmp_path / "plain.parquet")), "scores.csv")
    found = made.output("scores.csv")
    assert found["id"].tolist() == wanted["id"].tolist()
    np.testing.assert_array_equal(found["probability"], wanted["probability"])
    with pytest.raises(DataError, match=r"must end in \.parquet or \.csv"):
        made.score(Files(str(tmp_path / "plain.parquet")), "scores.xlsx")


def put(url: str, frame: pd.DataFrame) -> str:
    engine = sql.create_engine(tables.driver(url), poolclass=NullPool)
    with engine.begin() as connection:
        frame.sample(frac=1, random_state=0).to_sql("events", connection, index=False)
    return tables.driver(url)


def test_a_sql_table_comes_in_the_order_of_its_id(
    store_url: str, batch: Make, wanted: pd.DataFrame, tmp_path: Path
) -> None:
    made = batch()
    url = put(store_url, travelling(events(ROWS), made))
    tally = made.score(Query(url, "events", ("id", None)))
    assert (tally.scored, tally.rejected) == (ROWS, 0)
    found = made.output()
    assert found["id"].tolist() == sorted(wanted["id"])
    pd.testing.assert_frame_equal(found, wanted.set_index("id").loc[found["id"]].reset_index())


def test_a_sql_query_comes_in_its_own_order(store_url: str, batch: Make, wanted: pd.DataFrame) -> None:
    made = batch()
    url = put(store_url, travelling(events(ROWS), made))
    query = "SELECT * FROM events WHERE size > 50 ORDER BY size, id DESC;"
    made.score(Query(url, query, ("id", None)))
    rows = events(ROWS).query("size > 50").sort_values(["size", "id"], ascending=[True, False])
    assert made.output()["id"].tolist() == rows["id"].tolist()
    with pytest.raises(DataError, match="needs an ORDER BY"):
        made.score(Query(url, "SELECT * FROM events", ("id", None)))


def test_a_sql_table_may_hold_timestamps_and_is_read_from_any_row_on(store_url: str) -> None:
    frame = events(ROWS).drop(columns="at_utc_offset")
    url = put(store_url, frame)
    for what in ("events", "SELECT * FROM events ORDER BY id"):
        query = Query(url, what, ("id", None))
        parts = [query.chunks(["id", "size"], [], 0, start) for start in (0, 2 * CHUNK)]
        whole, rest = (pa.concat_tables(chunk.table for chunk in part) for part in parts)
        assert whole["id"].to_pylist() == sorted(frame["id"])
        assert rest["id"].to_pylist() == sorted(frame["id"])[2 * CHUNK :]


def test_a_table_of_the_database_that_is_not_there_is_named(store_url: str, batch: Make) -> None:
    made = batch()
    url = put(store_url, travelling(events(10), made))
    with pytest.raises(DataError, match=r"the database does not answer as it should: .*nothing"):
        made.score(Query(url, "nothing", ("id", None)))


def test_chunks_begin_where_they_do_wherever_the_reading_starts(batch: Make, tmp_path: Path) -> None:
    made = batch()
    for write in (row_groups, csv):
        found = write(events(ROWS), made, tmp_path)
        whole = [(chunk.part, chunk.start, len(chunk.table)) for chunk in found.chunks(["id"], [])]
        assert whole == [(0, start, min(CHUNK, ROWS - start)) for start in range(0, ROWS, CHUNK)]
        for part, start, _ in whole:
            later = [(chunk.part, chunk.start, len(chunk.table)) for chunk in found.chunks(["id"], [], part, start)]
            assert later == [item for item in whole if item[1] >= start]


def test_a_place_without_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file, and no folder with CSV or Parquet files"):
        Files(str(tmp_path))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(DataError, match=r"broken\.parquet cannot be read"):
        Files(str(tmp_path)).names()
