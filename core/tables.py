"""Tables where they lie: CSV and Parquet files, folders of such files, SQL. What a problem's data.py reads with.

Nothing is guessed: separators, encodings and formats are said by the caller (`loop init` finds them and writes them
down). No row is dropped; a value that cannot be read as the type of its column is missing.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from core.columns import offset_name
from core.config import ROOT, settings
from core.errors import ConfigError, DataError
from core.schema import ProblemSpec

CSV, PARQUET = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"), (".parquet", ".pq")
ISO, NATIVE = "ISO8601", "native"
EPOCHS = {"unix s": "s", "unix ms": "ms"}


def place(written: str | None) -> str:
    """Where the data are: LOOP_DATA_URL or, without it, what data.py says; a relative path starts at the repository."""
    found = settings().data_url or written
    if not found:
        raise ConfigError("LOOP_DATA_URL is not set, and data.py names no place; set it to the table's file or SQL URL")
    if found.startswith("sqlite:///"):
        return f"sqlite:///{ROOT / found.removeprefix('sqlite:///')}"
    return found if "://" in found else str(ROOT / found)


def files(where: str) -> list[Path]:
    """The file, or a folder's CSV and Parquet files by name."""
    path = Path(where)
    if path.is_file():
        return [path]
    found = sorted(item for item in path.glob("*") if item.name.lower().endswith(CSV + PARQUET))
    if not found:
        raise DataError(f"{path} is no file, and no folder with CSV or Parquet files; is the place right?")
    return found


def read(where: str, names: Mapping[str, str], **csv: Any) -> pd.DataFrame:
    """The columns of `names` (source -> name), rows as they lie: a CSV's as text. `csv` is handed to read_csv."""
    parts = [_read(path, list(names), csv) for path in files(where)]
    return pd.concat(parts, ignore_index=True)[list(names)].rename(columns=dict(names))


def query(
    url: str, table: str, names: Mapping[str, str], order: Sequence[str] = (), span: tuple[str, Any, Any] | None = None
) -> pd.DataFrame:
    """The same of an SQL table, `schema.name` or `name`. `span`: a source column, and what it is at least and below."""
    import sqlalchemy as sql
    from sqlalchemy.pool import NullPool

    schema, _, name = table.rpartition(".")
    source = sql.table(name, *(sql.column(column) for column in names), schema=schema or None)
    wanted = sql.select(source).order_by(*(sql.column(column) for column in order))
    if span is not None:
        at: sql.ColumnClause[Any] = sql.column(span[0])
        wanted = wanted.where(at >= span[1], at < span[2])
    engine = sql.create_engine(driver(url), poolclass=NullPool)
    with engine.connect() as connection:
        return pd.read_sql_query(wanted, connection).rename(columns=dict(names))


def driver(url: str) -> str:
    """The URL with the PostgreSQL driver that is installed."""
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


def around(day: date, form: str) -> tuple[Any, Any]:
    """A day and its neighbours, as a time column of this format compares: what is of the day in any time zone."""
    first, end = (pd.Timestamp(day) + pd.Timedelta(days=n) for n in (-1, 2))
    if form in EPOCHS:
        per_s = 1000 if form == "unix ms" else 1
        return int(first.timestamp()) * per_s, int(end.timestamp()) * per_s
    return (str(first.date()), str(end.date())) if form == ISO else (first.to_pydatetime(), end.to_pydatetime())


def source_names(spec: ProblemSpec, target: str, made: Sequence[str] = ()) -> dict[str, str]:
    """Source column -> column, with the target; without the columns that data.py makes itself."""
    columns = {column.source or name: name for name, column in spec.columns.items() if name not in made}
    return columns | {target: spec.target}


def typed(spec: ProblemSpec, frame: pd.DataFrame, forms: Mapping[str, str], decimal: str = ".") -> pd.DataFrame:
    """The columns by the types of problem.yaml; datetimes as naive UTC with an offset of 0. `forms`: see moments()."""
    out: dict[str, pd.Series] = {}
    for name, values in frame.items():
        column = spec.columns.get(str(name))
        if column is not None and column.type == "datetime":
            out[str(name)] = moments(values, forms[str(name)])
            out[offset_name(str(name))] = pd.Series(0.0, frame.index).where(out[str(name)].notna())
        elif column.type == "number" if column is not None else not spec.classes:
            out[str(name)] = numbers(values, decimal)
        else:
            out[str(name)] = texts(values)
    return pd.DataFrame(out)


def numbers(values: pd.Series, decimal: str = ".") -> pd.Series:
    """Numbers, float64, with signs of currency and per cent and the separators of thousands taken away."""
    if not (pd.api.types.is_string_dtype(values) or values.dtype == object):
        return values.astype("float64")
    thousands = "," if decimal == "." else r"\."
    bare = (
        values.astype("str").where(values.notna()).str.replace(rf"[\s$€£%_']|{thousands}(?=\d{{3}}\b)", "", regex=True)
    )
    return pd.to_numeric(bare.str.replace(decimal, ".", regex=False), errors="coerce").astype("float64")


def texts(values: pd.Series) -> pd.Series:
    """Texts; a whole number that a missing neighbour made a float is written as a whole number. Empty is missing."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    written = values.astype("str").where(values.notna())
    return written.where(written != "")


def moments(values: pd.Series, form: str) -> pd.Series:
    """Naive UTC, whole seconds. `form`: a strptime format, ISO8601, native, `unix s` or `unix ms`. No zone is UTC."""
    if form in EPOCHS:
        seconds = numbers(values) / (1000 if form == "unix ms" else 1)
        found = pd.to_datetime(seconds.round(), unit="s", utc=True, errors="coerce")
    elif form == NATIVE:
        found = pd.to_datetime(values, utc=True, errors="coerce")
    else:
        found = pd.to_datetime(texts(values), format=form, utc=True, errors="coerce")
    naive: pd.Series = found.dt.tz_localize(None).dt.as_unit("s")
    return naive


def _read(path: Path, columns: Sequence[str], csv: Mapping[str, Any]) -> pd.DataFrame:
    try:
        if path.name.lower().endswith(PARQUET):
            return pd.read_parquet(path, columns=list(columns))
        frame: pd.DataFrame = pd.read_csv(path, usecols=list(columns), dtype="str", **csv)
        return frame
    except (ValueError, KeyError) as error:  # a column that is not there, among others
        raise DataError(f"{path} cannot be read with the columns of problem.yaml: {error}") from error
