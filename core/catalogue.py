"""The catalogue of raw partitions: which content (by hash) each day's tables have. Rows are only ever added.

The bytes are in the DVC remote (core.lineage). A day that is ingested again with other rows gets a new version.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Column, Date, Engine, Integer, String, Table, func, select

from core.database import METADATA, insert_new

PARTITIONS = Table(
    "partitions",
    METADATA,
    Column("problem", String, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("table", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("md5", String, nullable=False),
    Column("size", Integer, nullable=False, doc="bytes"),
    Column("rows", Integer, nullable=False),
)


def current(engine: Engine, problem: str, first: date, last: date) -> list[dict[str, Any]]:
    """The newest version of each table of each day first..last, ordered by day and table."""
    p = PARTITIONS.c
    wanted = (p.problem == problem) & p.day.between(first, last)
    top = select(p.day, p.table, func.max(p.version).label("version")).where(wanted).group_by(p.day, p.table).subquery()
    same = (p.day == top.c.day) & (p.table == top.c.table) & (p.version == top.c.version)
    query = select(PARTITIONS).join(top, same).where(p.problem == problem).order_by(p.day, p.table)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def add(engine: Engine, problem: str, day: date, tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Record a day's tables {table, md5, size, rows}; return the names of those whose content is new or changed."""
    known = {row["table"]: row for row in current(engine, problem, day, day)}
    changed = [row for row in tables if known.get(row["table"], {}).get("md5") != row["md5"]]
    rows = [
        {"problem": problem, "day": day, "version": known.get(row["table"], {}).get("version", 0) + 1, **row}
        for row in changed
    ]
    with engine.begin() as connection:
        insert_new(connection, PARTITIONS, rows)
    return [row["table"] for row in changed]
