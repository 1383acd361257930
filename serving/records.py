"""The prediction log's records of one request, in the format of core.predictions. Writes nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from core.columns import Columns, event_day
from core.schema import ProblemSpec
from core.sensitive import Mask
from core.task import of
from serving.parsing import Row
from serving.replies import JSON
from serving.scoring import Attempt

Record = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A request as columns, shape (n,) or (n, size): as sent, as the models see it, what is watched besides, and the
    look-ups' times."""

    rows: list[Row]
    columns: Columns
    inputs: Columns
    statistics: Columns
    as_of: dict[str, np.ndarray]


def of_attempts(spec: ProblemSpec, attempts: list[Attempt], common: list[Record]) -> list[Record]:
    """One record for each row of each attempt: also of those that failed, which have an error and no score."""
    return [record for attempt in attempts for record in _of_attempt(spec, attempt, common)]


def as_lines(found: list[Record]) -> bytes:
    """JSON lines; NaN becomes null."""
    return JSON.encode_lines(found)


def _of_attempt(spec: ProblemSpec, attempt: Attempt, common: list[Record]) -> list[Record]:
    by = {"model_version": attempt.model.version, "role": attempt.role, "latency_ms": attempt.latency_ms}
    rows, n = attempt.rows.tolist(), len(attempt.rows)
    own = zip(rows, attempt.ids, *_predicted(spec, attempt), strict=True)
    found = [
        {**common[row], **by, "id": id, "score": score, "label": label, "outputs": outputs, "error": error}
        for row, id, score, label, outputs, error in own
    ]
    if attempt.embedding:
        embedding = _rowwise({name: column.tolist() for name, column in attempt.embedding.items()}, n)
        found = [r | {"features": r["features"] | e} for r, e in zip(found, embedding, strict=True)]
    return found


def _predicted(spec: ProblemSpec, attempt: Attempt) -> tuple[list[Any], ...]:
    """score, label, outputs and error, a list each. What an error says may hold a value that nobody may log."""
    task, prediction, answered = of(spec), attempt.prediction, attempt.answered.tolist()
    error = attempt.error.partition(":")[0] if spec.sensitive else attempt.error
    outputs = prediction.tolist() if prediction.ndim == 2 else [None] * len(answered)
    return (
        task.score(prediction).tolist(),
        [label if ok else None for label, ok in zip(task.names(prediction), answered, strict=True)],
        [row if ok else None for row, ok in zip(outputs, answered, strict=True)],
        [None if ok else error for ok in answered],
    )


def common_part(spec: ProblemSpec, seen: Seen, mask: Mask) -> list[Record]:
    """What a row's record says whoever answered it; sensitive values only as hashes."""
    now, rows, n = time.time(), seen.rows, len(seen.rows)
    each = zip(
        rows,
        seen.columns[spec.entity].tolist(),
        event_day(spec, seen.columns).tolist(),
        seen.columns[spec.time].astype(np.int64).tolist(),
        _rowwise(_watched(seen, mask), n),
        _rowwise(_iso(seen.as_of), n),
        strict=True,
    )
    return [
        {
            "problem": spec.name,
            "event_id": str(row[spec.id]),
            "entity": mask.text(spec.entity, str(entity)),
            "day": day,
            "event_time": event_time,
            "served_at": now,
            "inputs": mask.row({name: v for name, v in row.items() if v is not None}),
            "features": features,
            "as_of": as_of,
        }
        for row, entity, day, event_time, features, as_of in each
    ]


def _watched(seen: Seen, mask: Mask) -> dict[str, list[Any]]:
    """What the models see but for arrays and what is sensitive, and the statistics."""
    found = seen.inputs | seen.statistics
    return {n: column.tolist() for n, column in found.items() if column.ndim == 1 and n not in mask.features}


def _rowwise(columns: Mapping[str, list[Any]], n: int) -> list[dict[str, Any]]:
    if not columns:
        return [{} for _ in range(n)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _iso(times: Mapping[str, np.ndarray]) -> dict[str, list[str | None]]:
    """datetime64[s] to ISO 8601 in UTC; None for NaT."""
    return {name: [_iso_text(moment) for moment in column.view(np.int64).tolist()] for name, column in times.items()}


@lru_cache(maxsize=4096)  # the rows of an hour share a few
def _iso_text(seconds: int) -> str | None:
    moment = np.datetime64(seconds, "s")
    return None if np.isnat(moment) else f"{moment}Z"
