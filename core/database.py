"""The platform's database: SQLite on a laptop, PostgreSQL elsewhere, the same code. Tables live with their users."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Date, Engine, MetaData, Table, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

METADATA = MetaData()
TOGETHER = 100  # rows of one statement in SQLite
_ALONE = {  # serialises concurrent first starts; the number is any constant
    "postgresql": "SELECT pg_advisory_xact_lock(20130401)",
    "sqlite": "BEGIN IMMEDIATE",
}


def connect(url: str, statement_s: float | None = None) -> Engine:
    """An engine whose tables exist. Safe when several processes start at once.

    `statement_s`: how long PostgreSQL may take for one statement; SQLite waits half a minute for a lock at most.
    """
    import core.catalogue
    import core.decisions
    import core.online
    import core.predictions  # noqa: F401  (all four: their tables join METADATA)

    postgres = make_url(url).get_backend_name() == "postgresql"
    patience = _patience(url, statement_s) if postgres else {}
    engine = create_engine(url, pool_pre_ping=True, connect_args=patience, json_deserializer=msgspec.json.decode)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, url)
    with engine.begin() as connection:
        connection.execute(text(_ALONE[engine.dialect.name]))
        METADATA.create_all(connection)
    return engine


def _patience(url: str, statement_s: float | None) -> dict[str, Any]:
    """A server that is gone without a word is noticed within seconds, not by the operating system's hours."""
    found: dict[str, Any] = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5}
    found |= {"keepalives_count": 3, "tcp_user_timeout": 25_000}  # ms; the others are seconds
    if statement_s is not None:
        options = make_url(url).query.get("options", "")
        found["options"] = f"{options} -c statement_timeout={round(statement_s * 1000)}".strip()
    return found


def _prepare_sqlite(engine: Engine, url: str) -> None:
    """Readers must not block the writer, and a second writer waits instead of failing."""
    from pathlib import Path

    database = make_url(url).database
    if database:
        Path(database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose key is not there yet; return how many were. A repeated delivery changes nothing."""
    if not rows:
        return 0
    statement = _insert(connection.dialect.name)(table).on_conflict_do_nothing()
    counted = connection.execution_options(preserve_rowcount=True)
    return counted.execute(statement, [dict(row) for row in rows]).rowcount  # not .values(rows): nine times slower


def _insert(dialect: str) -> Any:
    """The dialect's own `insert`; the other dialect is not loaded, which a small server notices."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
    return insert


def insert_new_lines(connection: Connection, table: Table, lines: Sequence[bytes]) -> int:
    """The same for rows that are JSON objects as bytes, several in one statement. The database reads them: while it
    does, the rest of this process goes on. Raises ValueError or DBAPIError for what is no row of the table.
    """
    return _INSERT_LINES[connection.dialect.name](connection, table, lines)


def _sqlite_lines(connection: Connection, table: Table, lines: Sequence[bytes]) -> int:
    new = 0
    for start in range(0, len(lines), TOGETHER):
        some = tuple(line.decode() for line in lines[start : start + TOGETHER])
        try:
            new += connection.exec_driver_sql(_sqlite_statement(table, len(some)), some).rowcount
        except OperationalError as error:
            if "malformed JSON" in str(error.orig):
                raise ValueError(f"a line is no row of {table.name}") from None
            raise
    return new


@lru_cache(maxsize=2 * TOGETHER)
def _sqlite_statement(table: Table, rows: int) -> str:
    """A value that is an object or a list stays the text that it is; what is no date becomes NULL, and is refused."""
    values = [f"json_extract(column1, '$.{column.name}')" for column in table.c]
    dates = [isinstance(column.type, Date) for column in table.c]
    values = [f"date({value})" if is_date else value for value, is_date in zip(values, dates, strict=True)]
    read = f"SELECT {', '.join(values)} FROM (VALUES {', '.join(['(?)'] * rows)})"
    return f"INSERT INTO {_into(table)} {read} WHERE true ON CONFLICT DO NOTHING"


def _postgresql_lines(connection: Connection, table: Table, lines: Sequence[bytes]) -> int:
    read = f"json_populate_recordset(CAST(NULL AS {table.name}), CAST(:lines AS json))"
    names = ", ".join(table.c.keys())
    statement = text(f"INSERT INTO {_into(table)} SELECT {names} FROM {read} ON CONFLICT DO NOTHING")
    return connection.execute(statement, {"lines": f"[{b','.join(lines).decode()}]"}).rowcount


def _into(table: Table) -> str:
    return f"{table.name} ({', '.join(table.c.keys())})"


_INSERT_LINES = {"sqlite": _sqlite_lines, "postgresql": _postgresql_lines}
