"""What tables hold besides plain texts and numbers: arrays, ways of writing moments, columns by their source's name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from core.columns import from_frame
from core.errors import DataError
from pipeline.score.decode import Decoded, Decoder, Dialect
from pipeline.score.source import Chunk, Files
from tests import toy
from tests.score.conftest import Make
from tests.score.toys import events

PIXELS = {"type": "array", "shape": [2, 3], "description": "?", "min": 0, "max": 255}
FLAT = [[1.0, 2, 3, 4, 5, 6], [0.5, 0, 0, 0, 0, 0]]
NESTED = [[row[:3], row[3:]] for row in FLAT]
NOW = np.datetime64("2013-04-11T12:00:00", "s")


def decode(table: pa.Table, forms: dict[str, str] | None = None, **columns: Any) -> Decoded:
    decoder = Decoder(toy.spec(**columns), table.column_names, Dialect(forms=forms or {}), NOW)
    return decoder.decode(Chunk(0, 0, table.select(decoder.names)))


def with_pixels(pixels: list[Any]) -> pa.Table:
    frame = (
        events(len(pixels)).drop(columns="at_utc_offset").assign(at="2013-04-10T10:00:00+02:00", kind="red", size=1.0)
    )
    return pa.Table.from_pandas(frame).append_column("pixels", pa.array(pixels))


@pytest.mark.parametrize("pixels", [FLAT, NESTED])
def test_arrays_are_read_nested_and_flat(pixels: list[Any]) -> None:
    found = decode(with_pixels(pixels), pixels=PIXELS)
    assert found.columns["pixels"].tolist() == FLAT
    assert found.columns["pixels"].dtype == np.float32


def test_arrays_of_another_size_or_out_of_range_or_missing_are_set_aside() -> None:
    found = decode(with_pixels([FLAT[0], [1.0, 2.0], None, [*FLAT[0][:5], 256.0], FLAT[1]]), pixels=PIXELS)
    assert found.columns["pixels"].tolist() == FLAT
    assert found.reasons == {
        1: "pixels: expected 6 numbers, got 2",
        2: "pixels: missing",
        3: "pixels: expected numbers from 0 to 255",
    }


def test_arrays_in_a_column_of_text_are_refused() -> None:
    with pytest.raises(DataError, match="an array is read from a Parquet column of lists"):
        decode(with_pixels(["[1, 2]", "[3]"]), pixels=PIXELS)


def test_a_frame_is_decoded_to_the_columns_that_training_has() -> None:
    frame = events(2000)
    found, wanted = decode(pa.Table.from_pandas(frame)).columns, from_frame(toy.spec(), frame)
    assert set(found) == set(wanted)
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_the_local_clock_of_a_timestamp_with_a_zone_is_kept() -> None:
    at = pd.to_datetime(["2013-03-10T06:30:00Z", "2013-03-10T07:30:00Z"]).tz_convert("America/New_York")
    table = pa.Table.from_pandas(pd.DataFrame({"id": ["a", "b"], "who": "x", "at": at}))
    found = decode(table).columns
    assert found["at"].astype(str).tolist() == ["2013-03-10T06:30:00", "2013-03-10T07:30:00"]
    assert found["at_utc_offset"].tolist() == [-300, -240]


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "unix s"])
def test_moments_are_read_as_data_py_says_that_they_are_written(form: str) -> None:
    at = pd.Series(["10/04/2013 10:00:00", "nonsense"] if form.startswith("%") else ["1365588000", "nonsense"])
    table = pa.Table.from_pandas(pd.DataFrame({"id": ["a", "b"], "who": "x", "at": at}))
    found = decode(table, {"at": form})
    assert found.columns["at"].astype(str).tolist() == ["2013-04-10T10:00:00"]
    assert list(found.reasons) == [1]


def test_rows_without_an_optional_time_get_the_moment_that_the_run_was_given() -> None:
    optional = toy.COLUMNS["at"] | {"optional": True}
    table = pa.table({"id": ["a", "b"], "who": ["x", "x"], "at": [None, "2013-04-10T10:00:00Z"]})
    found = decode(table, at=optional)
    assert found.columns["at"].tolist() == [NOW.item(), np.datetime64("2013-04-10T10:00:00").item()]
    assert found.columns["at_utc_offset"].tolist() == [0, 0]
    assert decode(table.drop_columns("at"), at=optional).columns["at"].tolist() == [NOW.item()] * 2


def test_a_column_is_found_by_its_source_s_name_too_and_numbers_may_be_ids() -> None:
    size = toy.COLUMNS["size"] | {"source": "How big?"}
    table = pa.table({"id": [7.0, 8.0], "who": [1, None], "at": ["2013-04-10T10:00:00Z"] * 2, "How big?": [3, None]})
    found = decode(table, size=size)
    assert found.columns["size"].tolist() == [3.0]
    assert found.columns["who"].tolist() == ["1"]
    assert found.ids.to_pylist() == ["7", "8"]
    assert found.reasons == {1: "who: missing"}


def test_rows_of_a_table_without_ids_are_numbered() -> None:
    table = pa.table({"who": ["x", "x"], "at": ["2013-04-10T10:00:00Z"] * 2})
    assert decode(table).ids.to_pylist() == ["1-1", "1-2"]


def test_a_csv_is_read_as_data_py_says_that_it_is_written(batch: Make, tmp_path: Path) -> None:
    made, told = batch(), {"sep": ";", "encoding": "cp1252", "quotechar": "'"}
    text = "id;who;at;kind\n'a;b';a;2013-04-10T10:00:00Z;größer\n"
    (tmp_path / "in.csv").write_text(text, encoding="cp1252")
    assert made.score(Files(str(tmp_path / "in.csv"), told)).scored == 1
    assert made.output()["id"].tolist() == ["a;b"]
