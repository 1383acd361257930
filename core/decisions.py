"""The monitor's decisions, one row a day: what was decided, why, on which evidence."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import JSON, Column, Date, Engine, Float, String, Table, delete, insert, select

from core.database import METADATA

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("problem", String, primary_key=True),
    Column("as_of", Date, primary_key=True),
    Column("made_at", Float, nullable=False, doc="seconds since 1970, UTC"),
    Column("decision", String, nullable=False, doc="ignore, retrain or roll back"),
    Column("champion", String, doc="model version that was judged; null when there was none"),
    Column("reasons", JSON, nullable=False, doc="list of sentences"),
    Column("evidence", JSON, nullable=False, doc="name -> number or null"),
    Column("report", String, doc="file of the Evidently report, or null"),
)


def record(engine: Engine, row: Mapping[str, Any]) -> None:
    """Store the decision of a day. A repeated run of that day replaces it: the last one is what was acted on."""
    same = (DECISIONS.c.problem == row["problem"]) & (DECISIONS.c.as_of == row["as_of"])
    with engine.begin() as connection:
        connection.execute(delete(DECISIONS).where(same))
        connection.execute(insert(DECISIONS).values(**row))


def history(engine: Engine, problem: str, until: date | None = None) -> list[dict[str, Any]]:
    """All decisions, oldest first; with `until`, those of earlier days."""
    query = select(DECISIONS).where(DECISIONS.c.problem == problem).order_by(DECISIONS.c.as_of)
    if until is not None:
        query = query.where(DECISIONS.c.as_of < until)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
