"""The prediction log's format and its store: what was answered, by which model, on what inputs, and how it turned out.

A prediction is written once and never changed. An outcome arrives when it matures, by event. What a shadow predicted is
in the log beside what was answered; only `by_version` gives it.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    Engine,
    Float,
    Index,
    String,
    Table,
    and_,
    case,
    cast,
    func,
    select,
)

from core.database import METADATA, insert_new, insert_new_lines

CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"  # roles
MOST = 50_000  # predictions that a trial is judged on

PREDICTIONS = Table(
    "predictions",
    METADATA,
    Column("id", String, primary_key=True, doc="unique; the caller gets it with the answer"),
    Column("problem", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("entity", String, nullable=False, doc="or its hash, where it is sensitive"),
    Column("day", Date, nullable=False, doc="local date of the event"),
    Column("event_time", BigInteger, nullable=False, doc="seconds since 1970, UTC"),
    Column("served_at", Float, nullable=False, doc="seconds since 1970, UTC, by the server's clock"),
    Column("model_version", String, nullable=False),
    Column("role", String, nullable=False, doc="champion, canary or shadow"),
    Column("score", Float, doc="core.task's one number; null when the model failed; error then says how"),
    Column("label", String, doc="the predicted class, where the problem names its classes"),
    Column("outputs", JSON(none_as_null=True), doc="every class's probability, of more than two classes"),
    Column("error", String),
    Column("latency_ms", Float, nullable=False, doc="model time of the request, divided by its rows"),
    Column("inputs", JSON, nullable=False, doc="the request's columns; of sensitive ones hashes"),
    Column("features", JSON, nullable=False, doc="what the model saw, but for arrays; statistics; its embedding"),
    Column("as_of", JSON, nullable=False, doc="look-up -> available_at used, or null"),
    Index("predictions_by_day", "problem", "day"),
    Index("predictions_by_version", "problem", "model_version", "served_at"),
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("problem", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Column("outcome", Float, nullable=False, doc="0 or 1, the index of the class, or the value"),
    Column("known_on", Date, nullable=False, doc="partition that brought it: known at the cut-off after this day"),
)

_SAME_EVENT = and_(OUTCOMES.c.problem == PREDICTIONS.c.problem, OUTCOMES.c.event_id == PREDICTIONS.c.event_id)


def add(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> int:
    """Store predictions; those whose id is there already are left alone. Returns how many were new."""
    with engine.begin() as connection:
        return insert_new(connection, PREDICTIONS, rows)


def add_lines(engine: Engine, lines: Sequence[bytes]) -> int:
    """The same for predictions as JSON lines."""
    with engine.begin() as connection:
        return insert_new_lines(connection, PREDICTIONS, lines)


def add_outcomes(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> int:
    """Store matured labels; the first outcome of an event stands. Returns how many were new."""
    with engine.begin() as connection:
        return insert_new(connection, OUTCOMES, rows)


def live(
    engine: Engine, problem: str, first: date, last: date, known_before: date, inputs: bool = False
) -> list[dict[str, Any]]:
    """Answered predictions for events of first..last, one row each, with the outcome where one was known.

    Outcomes of partitions on or after `known_before` are not seen: a label has a clock of its own. The request's
    columns, which may hold whole arrays, are read only when `inputs` are asked for.
    """
    wanted = [column for column in PREDICTIONS.c if inputs or column is not PREDICTIONS.c.inputs]
    known = and_(_SAME_EVENT, OUTCOMES.c.known_on < known_before)
    query = (
        select(*wanted, OUTCOMES.c.outcome)
        .join(OUTCOMES, known, isouter=True)
        .where(PREDICTIONS.c.problem == problem, PREDICTIONS.c.day.between(first, last))
        .where(PREDICTIONS.c.error.is_(None), PREDICTIONS.c.role != SHADOW)
        .order_by(PREDICTIONS.c.event_time, PREDICTIONS.c.id)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def find(engine: Engine, id: str) -> dict[str, Any] | None:
    """One prediction, of whatever problem, with outcome and known_on of its event, None while they are not known."""
    query = select(PREDICTIONS, OUTCOMES.c.outcome, OUTCOMES.c.known_on).join(OUTCOMES, _SAME_EVENT, isouter=True)
    with engine.connect() as connection:
        row = connection.execute(query.where(PREDICTIONS.c.id == id)).mappings().one_or_none()
        return None if row is None else dict(row)


def by_version(
    engine: Engine, problem: str, versions: Sequence[str], since: float, most: int = MOST
) -> list[dict[str, Any]]:
    """Predictions of these versions since that time, a shadow's and failed ones too, with the outcome where one is
    known by now. The request's columns and the features are left out.

    Where there are more than `most`, some are taken, by the last digits of the time of the request, which are chance:
    what several versions said of one request stays together.
    """
    p, left_out = PREDICTIONS.c, {"inputs", "features", "as_of"}
    wanted = [column for column in p if column.name not in left_out]
    among = and_(p.problem == problem, p.model_version.in_(versions), p.served_at >= since)
    query = select(*wanted, OUTCOMES.c.outcome).join(OUTCOMES, _SAME_EVENT, isouter=True).where(among)
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).where(among)).scalar_one()
        if count > most:
            query = query.where(cast(p.served_at * 100_000, BigInteger) % math.ceil(count / most) == 0)
        return [dict(row) for row in connection.execute(query).mappings()]


def daily(engine: Engine, problem: str, classes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What was answered, one row per event day, version and role, by day and first use.

    day, model_version, role, answers, failed, first_at and last_at (served, seconds since 1970, UTC); of answers
    whose outcome is known by now: labelled, observed (mean outcome) and expected (mean score). With the `classes` of a
    problem that has more than two, `observed` is the share whose label is right.
    """
    p, outcome = PREDICTIONS.c, OUTCOMES.c.outcome
    names = {float(code): name for code, name in enumerate(classes)}
    right = case((case(names, value=outcome) == p.label, 1.0), (outcome.is_not(None), 0.0)) if classes else outcome
    known = and_(_SAME_EVENT, p.error.is_(None))
    query = (
        select(
            p.day,
            p.model_version,
            p.role,
            func.count(p.id).label("answers"),
            func.count(p.error).label("failed"),
            func.min(p.served_at).label("first_at"),
            func.max(p.served_at).label("last_at"),
            func.count(outcome).label("labelled"),
            func.avg(right).label("observed"),
            func.avg(case((outcome.is_not(None), p.score))).label("expected"),
        )
        .join(OUTCOMES, known, isouter=True)
        .where(p.problem == problem, p.role != SHADOW)
        .group_by(p.day, p.model_version, p.role)
        .order_by(p.day, func.min(p.served_at))
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def count(engine: Engine, problem: str) -> int:
    """Of what was answered, or failed."""
    query = select(func.count()).where(PREDICTIONS.c.problem == problem, PREDICTIONS.c.role != SHADOW)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())
