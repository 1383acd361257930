"""The table as it lies: which files or which SQL table, how a CSV is written, and every column unread.

Only what it takes to read is found here. What the columns mean is found in `kinds`.
"""

import codecs
import csv
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from core import tables
from core.config import ROOT
from core.errors import DataError
from pipeline.onboarding.names import chosen

DATA_URL = "LOOP_DATA_URL"
SNIFFED_BYTES = 1 << 18
SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "cp1252")


@dataclass(frozen=True)
class Source:
    """`frame` holds every column by its own name: texts of a CSV, types of Parquet and SQL."""

    written: str | None  # as data.py writes it; None: it holds a password and stays in LOOP_DATA_URL
    shown: str
    frame: pd.DataFrame
    table: str | None = None  # of a SQL database
    csv: dict[str, Any] = field(default_factory=dict)  # what read_csv must be told
    secret: str = ""  # the URL that is not written

    @contextmanager
    def as_setting(self) -> Iterator[None]:
        """Within it, data.py finds the data at a place that is not written down, or at the one it names."""
        before = os.environ.pop(DATA_URL, None)
        if self.secret:
            os.environ[DATA_URL] = self.secret
        try:
            yield
        finally:
            os.environ.pop(DATA_URL, None)
            os.environ.update({DATA_URL: before} if before is not None else {})


def open_source(data: str, table: str | None) -> Source:
    """Read the whole table. Raises DataError when it cannot be read, with what to do."""
    if "://" in data:
        return _sql(data, table)
    if table is not None:
        raise DataError("--table is for a SQL URL; a file or folder is one table")
    path = Path(data).expanduser().resolve()
    if not path.exists():
        raise DataError(f"{data} does not exist; give a CSV or Parquet file, a folder of them, or a SQL URL")
    found = tables.files(str(path))
    told = _dialect(found[0]) if found[0].name.lower().endswith(tables.CSV) else {}
    names = _same_names(found, told)
    frame = tables.read(str(path), {name: name for name in names}, **told)
    kind = "Parquet" if found[0].name.lower().endswith(tables.PARQUET) else "CSV"
    shown = f"{kind} file {path.name}" if path.is_file() else f"folder {path.name} of {len(found)} {kind} files"
    return Source(_relative(path), shown, frame, csv=told)


def _sql(url: str, table: str | None) -> Source:
    import sqlalchemy as sql

    try:
        engine = sql.create_engine(tables.driver(url), poolclass=sql.pool.NullPool)
        there = sql.inspect(engine)
        name = _table(there, table)
        schema, _, bare = name.rpartition(".")
        columns = [column["name"] for column in there.get_columns(bare, schema=schema or None)]
        frame = tables.query(url, name, {column: column for column in columns})
    except sql.exc.SQLAlchemyError as error:
        raise DataError(f"the database does not answer as it should: {str(error).splitlines()[0]}") from error
    secret = bool(engine.url.password) or "password" in engine.url.query
    where = engine.url.render_as_string(hide_password=True)
    return Source(
        written=None if secret else _relative_url(url),
        shown=f"SQL table {name} of {where}",
        frame=frame,
        table=name,
        secret=url if secret else "",
    )


def _table(there: Any, asked: str | None) -> str:
    if asked is not None and "." in asked:
        return asked
    names = sorted([*there.get_table_names(), *there.get_view_names()])
    if asked is not None:
        return chosen(asked, names, "table", "the database")
    if len(names) != 1:
        raise DataError(f"name the table with --table; there are: {', '.join(names) or 'none'}")
    return str(names[0])


def _same_names(found: list[Path], told: dict[str, Any]) -> list[str]:
    """The columns of the first file; another file with other ones is refused."""
    first = _names(found[0], told)
    for path in found[1:]:
        if set(mine := _names(path, told)) != set(first):
            odd = ", ".join(sorted(set(mine) ^ set(first)))
            raise DataError(f"{path.name} has other columns than {found[0].name}: {odd}; a folder is one table")
    return first


def _names(path: Path, told: dict[str, Any]) -> list[str]:
    if path.name.lower().endswith(tables.PARQUET):
        import pyarrow.parquet as pq

        return [str(name) for name in pq.read_schema(path).names if not str(name).startswith("__index_level_")]
    return [str(name) for name in pd.read_csv(path, nrows=0, **told).columns]


def _dialect(path: Path) -> dict[str, Any]:
    """What read_csv must be told beyond its defaults. Raises DataError for a file that is no table with a header."""
    encoding, text = _text(path)
    lines = text.splitlines()[:-1] or text.splitlines()
    if not lines:
        raise DataError(f"{path.name} is empty")
    quote = "'" if _single_quoted(lines[0]) else '"'
    separator = max(SEPARATORS, key=lambda mark: _regular(lines[:200], mark, quote))
    _check_header(path, next(_split(lines, separator, quote)))
    told = {"sep": (separator, ","), "encoding": (encoding, "utf-8"), "quotechar": (quote, '"')}
    return {key: value for key, (value, usual) in told.items() if value != usual}


def _text(path: Path) -> tuple[str, str]:
    """Encoding, and the beginning of the file."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        head = file.read(SNIFFED_BYTES)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", head.decode("utf-16", "ignore")
    whole = head[: head.rfind(b"\n") + 1] or head
    for encoding in ENCODINGS:
        try:
            text = whole.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except UnicodeDecodeError:
            continue
        return encoding, text
    return "latin-1", whole.decode("latin-1")


def _single_quoted(header: str) -> bool:
    marks = header.count("'")
    return '"' not in header and header.startswith("'") and header.rstrip().endswith("'") and marks % 2 == 0


def _regular(lines: list[str], separator: str, quote: str) -> tuple[float, int]:
    """How well a separator explains the lines: the share with as many fields as the header, if that is more than 1."""
    counts = [len(row) for row in _split(lines, separator, quote) if row]
    if counts[0] == 1:
        return 0.0, 0
    return round(sum(count == counts[0] for count in counts) / len(counts), 1), counts[0]


def _split(lines: list[str], separator: str, quote: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, quotechar=quote)


def _check_header(path: Path, header: list[str]) -> None:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DataError(f"the header of {path.name} names {', '.join(map(repr, doubled))} more than once; rename one")
    numbers = [float(name) for name in header if _is_number(name)]
    counted = sorted(numbers) == [numbers[0] + n for n in range(len(numbers))] if len(numbers) > 2 else False
    if len(numbers) > len(header) / 2 and not counted:
        raise DataError(f"the first line of {path.name} looks like data ({','.join(header)[:60]}); give it a header")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _relative_url(url: str) -> str:
    if not url.startswith("sqlite:///"):
        return url
    return f"sqlite:///{_relative(Path(url.removeprefix('sqlite:///')).resolve())}"
