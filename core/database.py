"""The platform's database: SQLite on a laptop, PostgreSQL elsewhere, the same code. Tables live with their users."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite

METADATA = MetaData()
_ALONE = {  # serialises concurrent first starts; the number is any constant
    "postgresql": "SELECT pg_advisory_xact_lock(20130401)",
    "sqlite": "BEGIN IMMEDIATE",
}


def connect(url: str) -> Engine:
    """An engine whose tables exist. Safe when several processes start at once."""
    import core.catalogue
    import core.decisions
    import core.online
    import core.predictions  # noqa: F401  (all four: their tables join METADATA)

    patience = {"connect_timeout": 5} if make_url(url).get_backend_name() == "postgresql" else {}  # seconds
    engine = create_engine(url, pool_pre_ping=True, connect_args=patience)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, url)
    with engine.begin() as connection:
        connection.execute(text(_ALONE[engine.dialect.name]))
        METADATA.create_all(connection)
    return engine


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
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing()
    counted = connection.execution_options(preserve_rowcount=True)
    return counted.execute(statement, [dict(row) for row in rows]).rowcount  # not .values(rows): nine times slower
