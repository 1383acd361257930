"""The prediction log's records of one request, in the format of core.predictions. Writes nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import to_json

from core.columns import Columns, event_day
from core.schema import ProblemSpec
from serving.parsing import Row
from serving.scoring import Attempt

Record = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A request as columns, shape (n,) each: as sent, as the models see it, and the look-ups' times."""

    rows: list[Row]
    columns: Columns
    inputs: Columns
    as_of: dict[str, np.ndarray]


def records(spec: ProblemSpec, seen: Seen, attempts: list[Attempt]) -> list[Record]:
    """One record for each row of each attempt: also of those that failed, which have an error and no score."""
    common = _common(spec, seen)
    return [record for attempt in attempts for record in _of_attempt(attempt, common)]


def as_lines(found: list[Record]) -> bytes:
    """JSON lines; NaN becomes null."""
    return b"".join(to_json(record, inf_nan_mode="null") + b"\n" for record in found)


def _of_attempt(attempt: Attempt, common: list[Record]) -> list[Record]:
    by = {"model_version": attempt.model.version, "role": attempt.role, "latency_ms": attempt.latency_ms}
    errors = [None if answered else attempt.error for answered in attempt.answered.tolist()]
    each = zip(attempt.rows.tolist(), attempt.ids, attempt.probability.tolist(), errors, strict=True)
    return [common[row] | by | {"id": i, "score": score, "error": error} for row, i, score, error in each]


def _common(spec: ProblemSpec, seen: Seen) -> list[Record]:
    """What a row's record says whoever answered it."""
    now = time.time()
    return _rowwise(
        {
            "problem": [spec.name] * len(seen.rows),
            "event_id": [row[spec.id] for row in seen.rows],
            "entity": [row[spec.entity] for row in seen.rows],
            "day": event_day(spec, seen.columns).tolist(),
            "event_time": seen.columns[spec.time].astype(np.int64).tolist(),
            "served_at": [now] * len(seen.rows),
            "inputs": [{name: value for name, value in row.items() if value is not None} for row in seen.rows],
            "features": _rowwise({name: column.tolist() for name, column in seen.inputs.items()}, len(seen.rows)),
            "as_of": _rowwise(_iso(seen.as_of), len(seen.rows)),
        },
        len(seen.rows),
    )


def _rowwise(columns: Mapping[str, list[Any]], n: int) -> list[dict[str, Any]]:
    if not columns:
        return [{} for _ in range(n)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _iso(times: Mapping[str, np.ndarray]) -> dict[str, list[str | None]]:
    """ISO 8601 in UTC; None for NaT."""
    texts = np.datetime_as_string(np.array(list(times.values()), "datetime64[s]"), timezone="UTC").tolist()
    return {name: [None if text == "NaT" else text for text in row] for name, row in zip(times, texts, strict=True)}
