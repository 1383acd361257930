"""SQLite files for several processes at once: with a write-ahead log, readers and the writer do not block each other.

Without it Airflow's scheduler, API server and tasks meet "database is locked" on a busy machine.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

WAIT_S = 30


def shared_database(path: Path) -> str:
    """SQLAlchemy URL of a database file that is switched to write-ahead logging (it stays so) and waits for locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=WAIT_S)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return f"sqlite:///{path}?timeout={WAIT_S}"
