"""The online store: recent look-up rows, in the prediction store's database, read by the server into memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import JSON, BigInteger, Column, Engine, Integer, String, Table, UniqueConstraint, func, select

from core.database import METADATA, insert_new
from core.lookups import Lookup
from core.schema import LookupSpec

ROWS = Table(
    "lookup_rows",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("problem", String, nullable=False),
    Column("lookup", String, nullable=False),
    Column("key", String, nullable=False, doc="as from core.lookups.joined_key"),
    Column("available_at", BigInteger, nullable=False, doc="seconds since 1970, UTC"),
    Column("values", JSON, nullable=False, doc="name -> number; null marks a missing one"),
    UniqueConstraint("problem", "lookup", "key", "available_at"),
)


def write(engine: Engine, problem: str, lookup: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Add rows {key, available_at, values}; one that is there already stands. Returns how many were new."""
    with engine.begin() as connection:
        return insert_new(connection, ROWS, [{"problem": problem, "lookup": lookup, **row} for row in rows])


def newest(engine: Engine, problem: str) -> int:
    """The id of the newest row: cheap to ask, and it grows whenever `read` would return more."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.max(ROWS.c.id)).where(ROWS.c.problem == problem)).scalar() or 0)


def read(engine: Engine, problem: str, specs: Mapping[str, LookupSpec]) -> dict[str, Lookup]:
    """Every look-up in memory, keeping of each what a request may still ask for: its tolerance and two days more."""
    with engine.connect() as connection:
        return {name: _read_one(connection, problem, name, spec) for name, spec in specs.items()}


def then(
    engine: Engine, problem: str, specs: Mapping[str, LookupSpec], keys: Mapping[str, str], at: Mapping[str, int | None]
) -> dict[str, Lookup]:
    """Each look-up with the one row of `keys` (as from joined_key) that was available `at`; empty where that is None.

    Rows are never changed or taken away, so this is what a prediction saw whose log has these times.
    """
    with engine.connect() as connection:
        rows = {name: _then(connection, problem, name, keys[name], at[name]) for name in specs}
    return {name: _lookup(spec, rows[name]) for name, spec in specs.items()}


def between(
    engine: Engine, problem: str, specs: Mapping[str, LookupSpec], first: int, last: int, upto: int
) -> dict[str, Lookup]:
    """Every look-up in memory, as far as moments of first..last (seconds since 1970, UTC) may ask for it. Rows whose
    id is above `upto` are not seen."""
    found = {}
    with engine.connect() as connection:
        for name, spec in specs.items():
            span = ROWS.c.available_at.between(first - int(spec.tolerance_h * 3600), last)
            found[name] = _lookup(spec, _rows(connection, _of(problem, name), span, ROWS.c.id <= upto))
    return found


def _then(connection: Any, problem: str, name: str, key: str, at: int | None) -> list[Any]:
    return [] if at is None else _rows(connection, _of(problem, name), ROWS.c.key == key, ROWS.c.available_at == at)


def _read_one(connection: Any, problem: str, name: str, spec: LookupSpec) -> Lookup:
    mine = _of(problem, name)
    last = connection.execute(select(func.max(ROWS.c.available_at)).where(mine)).scalar() or 0
    oldest = last - int(spec.tolerance_h * 3600) - 2 * 86400
    return _lookup(spec, _rows(connection, mine, ROWS.c.available_at >= oldest))


def _of(problem: str, name: str) -> Any:
    return (ROWS.c.problem == problem) & (ROWS.c.lookup == name)


def _rows(connection: Any, *conditions: Any) -> list[Any]:
    query = select(ROWS.c.key, ROWS.c.available_at, ROWS.c["values"]).where(*conditions)
    return list(connection.execute(query).all())


def _lookup(spec: LookupSpec, rows: Sequence[Any]) -> Lookup:
    """`rows`: key, available_at, values."""
    columns: dict[str, list[float]] = defaultdict(list)
    for _, _, values in rows:
        for value in spec.values:
            sent = values.get(value)
            columns[value].append(np.nan if sent is None else sent)
    return Lookup.build(
        np.array([key for key, _, _ in rows], dtype=str),
        np.array([at for _, at, _ in rows], dtype="datetime64[s]"),
        {value: np.array(columns[value], np.float32) for value in spec.values},
        spec.tolerance_h,
    )
