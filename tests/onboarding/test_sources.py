"""The same rows, however they are written, become the same problem."""

import runpy
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sql
from sqlalchemy.pool import NullPool

from core.errors import ConfigError, DataError
from problems import load
from tests.onboarding.conftest import Init

DAYS, A_DAY = 40, 20


def sales(days: int = DAYS) -> pd.DataFrame:
    """One row a sale: 20 a day for 40 days, with gaps in two columns."""
    rng = np.random.default_rng(0)
    n = days * A_DAY
    at = pd.Timestamp("2026-03-01") + pd.to_timedelta(np.arange(n) * 86400 // A_DAY, unit="s")
    price, shop = rng.gamma(4, 10, n).round(2), rng.choice(["north", "south", "Zürich"], n)
    sold = rng.random(n) < np.where(shop == "north", 0.7, 0.3)
    frame = pd.DataFrame({"sale no": np.arange(n) + 1000, "at": at, "price": price, "shop": shop, "sold": sold})
    return frame.assign(price=frame["price"].where(rng.random(n) > 0.1), sold=np.where(sold, "yes", "no"))


def csv(**options: object) -> Callable[[pd.DataFrame, Path], Path]:
    def write(frame: pd.DataFrame, folder: Path) -> Path:
        frame.to_csv(folder / "sales.csv", index=False, **options)  # type: ignore[call-overload]
        return folder / "sales.csv"

    return write


def gz(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_csv(folder / "sales.csv.gz", index=False, sep="|")
    return folder / "sales.csv.gz"


def parquet(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "sales.parquet")
    return folder / "sales.parquet"


def question_marks(frame: pd.DataFrame, folder: Path) -> Path:
    frame.astype({"price": object}).fillna({"price": "?"}).to_csv(folder / "sales.csv", index=False)
    return folder / "sales.csv"


def daily(frame: pd.DataFrame, folder: Path) -> Path:
    (folder / "sales").mkdir()
    for day, rows in frame.groupby(frame["at"].dt.date):
        rows.to_csv(folder / "sales" / f"{day}.csv", index=False)
    return folder / "sales"


def daily_parquet(frame: pd.DataFrame, folder: Path) -> Path:
    (folder / "sales").mkdir()
    for day, rows in frame.groupby(frame["at"].dt.date):
        rows.to_parquet(folder / "sales" / f"{day}.parquet")
    return folder / "sales"


def sqlite(frame: pd.DataFrame, folder: Path) -> str:
    connection = sqlite3.connect(folder / "sales.db")
    frame.to_sql("sales", connection, index=False)
    connection.close()
    return f"sqlite:///{folder / 'sales.db'}"


WRITERS = {
    "comma": csv(),
    "semicolon, decimal comma": csv(sep=";", decimal=",", encoding="cp1252"),
    "tab, day first": csv(sep="\t", date_format="%d/%m/%Y %H:%M:%S"),
    "everything quoted, UTF-16": csv(quoting=1, encoding="utf-16"),
    "byte-order mark, month in words": csv(encoding="utf-8-sig", date_format="%d %B %Y %H:%M:%S"),
    "single quotes, with a zone": csv(quoting=1, quotechar="'", date_format="%Y-%m-%dT%H:%M:%SZ"),
    "unix seconds": lambda frame, folder: csv()(
        frame.assign(at=frame["at"].astype("datetime64[s]").astype("int64")), folder
    ),
    "question marks": question_marks,
    "gzip, pipes": gz,
    "Parquet": parquet,
    "daily files": daily,
    "daily Parquet files": daily_parquet,
    "SQLite": sqlite,
}


@pytest.mark.parametrize("how", WRITERS)
def test_the_same_rows_come_out_of_every_way_of_writing_them(how: str, init: Init, tmp_path: Path) -> None:
    plan = init(WRITERS[how](sales(), tmp_path), "sold", time="at")
    a_day_is_as_it_was(plan.name)


def a_day_is_as_it_was(name: str) -> None:
    problem, frame, day = load(name), sales(), date(2026, 3, 30)
    tables = problem.data.partition(day)
    wanted = frame[frame["at"].dt.date == day].reset_index(drop=True)
    events, labels = tables["events"], tables["labels"]
    assert problem.spec.id == "sale_no"
    assert events["sale_no"].tolist() == labels["sale_no"].tolist() == wanted["sale no"].astype(str).tolist()
    assert events["at"].tolist() == wanted["at"].tolist()
    assert events["shop"].tolist() == wanted["shop"].tolist()
    np.testing.assert_allclose(events["price"], wanted["price"])
    assert labels["sold"].tolist() == wanted["sold"].tolist()
    assert problem.spec.columns["sale_no"].source == "sale no"
    assert not problem.data.covers(date(2026, 2, 28))
    with pytest.raises(DataError, match="has no rows of 2026-02-28"):
        problem.data.partition(date(2026, 2, 28))


def put(url: str, frame: pd.DataFrame, table: str = "sales") -> None:
    engine = sql.create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        frame.to_sql(table, connection, index=False)


def test_a_sql_table_is_asked_for_one_day_at_a_time(store_url: str, init: Init) -> None:
    put(store_url, sales())
    plan = init(store_url, "sold", time="at")
    a_day_is_as_it_was(plan.name)
    assert "tables.query" in (problem_file(plan.name)).read_text()


def test_a_sql_table_without_time_goes_by_its_id(store_url: str, init: Init) -> None:
    put(store_url, sales().drop(columns="at").sample(frac=1, random_state=1))
    plan = init(store_url, "sold", id="sale no")
    ids = load(plan.name).data.partition(plan.rhythm.demo_first)["events"]["sale_no"].astype(int)
    assert ids.is_monotonic_increasing


def test_a_sql_table_with_neither_has_no_order_and_is_refused(store_url: str, init: Init) -> None:
    put(store_url, sales()[["price", "shop", "sold"]])
    with pytest.raises(DataError, match=r"no order of their own.*--id or --time"):
        init(store_url, "sold")


def test_of_several_tables_one_must_be_named(store_url: str, init: Init) -> None:
    put(store_url, sales())
    put(store_url, sales().head(3), "returns")
    with pytest.raises(DataError, match="name the table with --table; there are: returns, sales"):
        init(store_url, "sold")
    with pytest.raises(DataError, match="table 'sale' is not in the database; did you mean 'sales'"):
        init(store_url, "sold", table="sale")
    assert init(store_url, "sold", table="sales", time="at").source.table == "sales"


def test_a_password_is_written_nowhere_and_asked_for_by_name(
    postgres: str, init: Init, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conftest import fresh_database

    url = fresh_database(postgres).replace("postgres:@", "postgres:hunter2@")
    assert "hunter2" in url
    put(url, sales())
    plan = init(url, "sold", time="at")
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", "--check", folder]
    assert subprocess.run(command, check=False).returncode == 0
    assert [path for path in folder.rglob("*.*") if path.is_file() and b"hunter2" in path.read_bytes()] == []
    data = load(plan.name).data
    data._rows.cache_clear()
    with pytest.raises(ConfigError, match="LOOP_DATA_URL is not set"):
        data.covers(date(2026, 3, 30))
    tests = runpy.run_path(str(folder / plan.name / "tests" / f"test_{plan.name}.py"))  # they stand without the data
    tests["test_every_feature_is_made_and_no_number_is_infinite"]()
    monkeypatch.setenv("LOOP_DATA_URL", url)
    a_day_is_as_it_was(plan.name)


def test_rows_that_are_added_to_a_folder_make_new_days_and_change_none(init: Init, tmp_path: Path) -> None:
    where = daily(sales().head(-A_DAY), tmp_path)
    data = load(init(where, "sold", time="at").name).data
    last = date(2026, 3, 1) + timedelta(days=DAYS - 1)
    before = data.partition(last - timedelta(days=1))["events"]
    assert not data.covers(last)
    sales().tail(A_DAY).to_csv(where / f"{last}.csv", index=False)
    data._table.cache_clear()
    assert data.covers(last)
    pd.testing.assert_frame_equal(data.partition(last - timedelta(days=1))["events"], before)


def test_files_with_other_columns_are_no_table(init: Init, tmp_path: Path) -> None:
    where = daily(sales(), tmp_path)
    sales().rename(columns={"shop": "store"}).to_csv(where / "2027.csv", index=False)
    with pytest.raises(DataError, match=r"2027\.csv has other columns than 2026-03-01\.csv: shop, store"):
        init(where, "sold")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("3.5,2,9\n4,5,6\n", "looks like data .*give it a header"),
        ("a,b,a\n1,2,3\n", "names 'a' more than once"),
        ("one column\n1\n2\n", "0 rows|1 columns; is the separator odd"),
    ],
)
def test_a_file_that_is_no_table_says_what_it_is(text: str, says: str, init: Init, tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        init(tmp_path / "odd.csv", "a")


def test_a_place_that_is_not_there_is_named(init: Init, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        init(tmp_path / "nowhere.csv", "sold")
    with pytest.raises(DataError, match="no folder with CSV or Parquet files"):
        init(tmp_path, "sold")
    with pytest.raises(DataError, match="--table is for a SQL URL"):
        init(tmp_path, "sold", table="sales")


def problem_file(name: str) -> Path:
    import problems

    return problems.FOLDER / name / "data.py"
