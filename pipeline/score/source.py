"""A table where it lies, as Arrow tables of at most CHUNK rows, from any position on: files by name, or a SQL query.

A chunk never crosses a file, and begins at a multiple of CHUNK in it: the same wherever the reading starts. Places,
suffixes and drivers are core.tables'; nothing is typed here (decode).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import sqlalchemy as sql

from core import tables
from core.errors import DataError

CHUNK = 32_768  # rows: larger ones fall out of the processor's cache (docs/performance.md)
BLOCK = 4 << 20  # bytes of a CSV that are parsed at once
ARROW_CSV = {"sep": "delimiter", "quotechar": "quote_char"}  # what pandas calls it -> what Arrow calls it


@dataclass(frozen=True)
class Chunk:
    """Some rows of the table: `table` as it lies; `start` counts the rows of `part` (a file's number) before it.

    `broken`: lines of a CSV that are no row, in words; they come with the last chunk of their file.
    """

    part: int
    start: int
    table: pa.Table
    broken: Sequence[str] = ()

    @property
    def end(self) -> int:
        return self.start + len(self.table)


class Files:
    """A CSV or Parquet file, or a folder of them."""

    def __init__(self, where: str, csv: Mapping[str, Any] | None = None) -> None:
        self.paths, self._csv = tables.files(where), dict(csv or {})

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {str(path.resolve()): [path.stat().st_size, path.stat().st_mtime_ns] for path in self.paths}

    def part_name(self, part: int) -> str:
        return self.paths[part].name

    def names(self) -> list[str]:
        """The columns of the first file."""
        path = self.paths[0]
        with _readable(path):
            if _is_parquet(path):
                return [str(name) for name in pq.read_schema(path).names]
            with closing(self._open_csv(path, None, [])) as reader:
                return [str(name) for name in reader.schema.names]

    def rows(self) -> int | None:
        """How many rows there are; None where only reading them would tell."""
        if not all(map(_is_parquet, self.paths)):
            return None
        return sum(int(pq.read_metadata(path).num_rows) for path in self.paths)

    def chunks(self, names: Sequence[str], texts: Sequence[str], part: int = 0, start: int = 0) -> Iterator[Chunk]:
        """From row `start` of file `part` on. `texts`: columns that repeat their values, to be read as dictionaries."""
        for number in range(part, len(self.paths)):
            yield from self._of_file(number, names, texts, start if number == part else 0)

    def _of_file(self, number: int, names: Sequence[str], texts: Sequence[str], start: int) -> Iterator[Chunk]:
        path, broken = self.paths[number], list[str]()
        with _readable(path):
            if _is_parquet(path):
                found = _parquet(path, names, texts, start)
            else:
                found = _after(start, self._csv_batches(path, names, broken))
            for table, last in _with_last(_rechunked(found)):
                yield Chunk(number, start, table, tuple(broken) if last else ())
                start += len(table)

    def _csv_batches(self, path: Path, names: Sequence[str], broken: list[str]) -> Iterator[pa.RecordBatch]:
        with closing(self._open_csv(path, names, broken)) as reader:
            yield from reader

    def _open_csv(self, path: Path, names: Sequence[str] | None, broken: list[str]) -> Any:
        """Every column as text: what is no number is a row's mistake, not the file's. Nothing is read as missing."""

        def note(row: Any) -> str:
            broken.append(f"line {row.number} has {row.actual_columns} values, the header {row.expected_columns}")
            return "skip"

        told = {ARROW_CSV[name]: value for name, value in self._csv.items() if name in ARROW_CSV}
        if path.name.lower().endswith((".tsv", ".tsv.gz")):
            told.setdefault("delimiter", "\t")
        types = dict.fromkeys(names, pa.string()) if names is not None else {}
        return pa_csv.open_csv(
            path,
            pa_csv.ReadOptions(use_threads=False, block_size=BLOCK, encoding=self._csv.get("encoding", "utf8")),
            pa_csv.ParseOptions(invalid_row_handler=note, newlines_in_values=True, **told),
            pa_csv.ConvertOptions(include_columns=list(types), column_types=types, strings_can_be_null=True),
        )


@dataclass(frozen=True)
class Query:
    """A SQL table, by its id, or a query, whose rows come in the order that it says itself."""

    url: str
    what: str
    ids: Sequence[str | None]  # columns, one of which a table has and is read in the order of

    def identity(self) -> dict[str, Any]:
        return {"sql": sql.make_url(self.url).render_as_string(hide_password=True), "query": self.what}

    def part_name(self, part: int) -> str:
        return self.what.strip() if self._is_table else "query"

    def names(self) -> list[str]:
        if self._is_table:
            return [str(column["name"]) for column in self._inspected()]
        with self._connected() as connection:
            return list(connection.execute(sql.text(f"SELECT * FROM ({self._query}) AS asked WHERE 1 = 0")).keys())

    def rows(self) -> int | None:
        return None

    def chunks(self, names: Sequence[str], texts: Sequence[str], part: int = 0, start: int = 0) -> Iterator[Chunk]:
        """By a cursor on the server's side: rows come as they are asked for. Those before `start` are passed over."""
        with self._connected() as connection:
            found = connection.execution_options(stream_results=True, max_row_buffer=CHUNK)
            result = found.execute(self._statement(names, start))
            wanted = [list(result.keys()).index(name) for name in names]
            batches = (_arrow(rows, names, wanted) for rows in result.partitions(CHUNK))
            for table in _rechunked(batches if self._is_table else _after(start, batches)):
                yield Chunk(0, start, table)
                start += table.num_rows

    @property
    def _is_table(self) -> bool:
        return not any(letter.isspace() for letter in self.what.strip())

    @property
    def _query(self) -> str:
        return self.what.strip().rstrip(";")

    def _statement(self, names: Sequence[str], start: int) -> Any:
        if not self._is_table:
            if "order by" not in " ".join(self.what.lower().split()):
                raise DataError(
                    "the query needs an ORDER BY, by what is unique: else a killed run cannot go on with it"
                )
            return sql.text(self._query)
        schema, _, name = self.what.strip().rpartition(".")
        source = sql.table(name, *(sql.column(column) for column in names), schema=schema or None)
        order = next((name for name in self.ids if name in names), None)
        if order is None:
            raise DataError(f"{self.what} has no column {self.ids[0]}: its rows have no order; write a query with one")
        return sql.select(source).order_by(sql.column(order)).offset(start)

    def _inspected(self) -> Any:
        schema, _, name = self.what.strip().rpartition(".")
        with self._connected() as connection:
            return sql.inspect(connection).get_columns(name, schema=schema or None)

    @contextmanager
    def _connected(self) -> Iterator[sql.Connection]:
        engine = sql.create_engine(self.url, poolclass=sql.NullPool)
        try:
            with engine.connect() as connection:
                yield connection
        except sql.exc.SQLAlchemyError as error:
            raise DataError(f"the database does not answer as it should: {str(error).splitlines()[0]}") from error


Source = Files | Query


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(tables.PARQUET)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _parquet(path: Path, names: Sequence[str], texts: Sequence[str], start: int) -> Iterator[pa.RecordBatch]:
    """Row groups before `start` are not read."""
    with pq.ParquetFile(path, read_dictionary=list(texts), pre_buffer=False) as file:
        ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
        first = int(np.searchsorted(ends, start, side="right"))
        before = int(ends[first - 1]) if first else 0
        groups = range(first, file.num_row_groups)
        batches = file.iter_batches(CHUNK, row_groups=list(groups), columns=list(names), use_threads=False)
        yield from _after(start - before, batches)


def _after(start: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if start < batch.num_rows:
            yield batch.slice(start)
        start = max(0, start - batch.num_rows)


def _rechunked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of CHUNK rows; the last has what is left, or nothing at all where there are no rows."""
    held: list[pa.Table] = []
    for batch in batches:
        held.append(pa.Table.from_batches([batch]))
        while sum(map(len, held)) >= CHUNK:
            together = pa.concat_tables(held)
            yield together.slice(0, CHUNK)
            held = [together.slice(CHUNK)]
    if rest := [table for table in held if len(table)]:
        yield pa.concat_tables(rest)


def _with_last(items: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, bool]]:
    """Each item, and whether none comes after it."""
    before = None
    for item in items:
        if before is not None:
            yield before, False
        before = item
    if before is not None:
        yield before, True


def _arrow(rows: Sequence[Any], names: Sequence[str], wanted: Sequence[int]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays([_array(columns[i]) for i in wanted], names=list(names))


def _array(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # of several types, or of none of Arrow's
        return pa.array([None if value is None else str(value) for value in values])
