"""The prediction log's records of one request, in the format of core.predictions. Writes nothing."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from core.columns import Columns, event_day
from core.schema import ProblemSpec
from core.sensitive import Mask
from core.task import of
from serving.parsing import Row
from serving.scoring import Attempt

Record = dict[str, Any]
_ENCODER = msgspec.json.Encoder()  # the same bytes as pydantic's in less than half the time


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
    return _ENCODER.encode_lines(found)


def _of_attempt(spec: ProblemSpec, attempt: Attempt, common: list[Record]) -> list[Record]:
    by = {"model_version": attempt.model.version, "role": attempt.role, "latency_ms": attempt.latency_ms}
    rows, n = attempt.rows.tolist(), len(attempt.rows)
    own = _rowwise({"id": attempt.ids, **_predicted(spec, attempt)}, n)
    found = [common[row] | by | mine for row, mine in zip(rows, own, strict=True)]
    if attempt.embedding:
        embedding = _rowwise({name: column.tolist() for name, column in attempt.embedding.items()}, n)
        found = [r | {"features": r["features"] | e} for r, e in zip(found, embedding, strict=True)]
    return found


def _predicted(spec: ProblemSpec, attempt: Attempt) -> dict[str, list[Any]]:
    """score, label, outputs and error, a list each. What an error says may hold a value that nobody may log."""
    task, prediction, answered = of(spec), attempt.prediction, attempt.answered.tolist()
    error = attempt.error.partition(":")[0] if spec.sensitive else attempt.error
    outputs = prediction.tolist() if prediction.ndim == 2 else [None] * len(answered)
    return {
        "score": task.score(prediction).tolist(),
        "label": [label if ok else None for label, ok in zip(task.names(prediction), answered, strict=True)],
        "outputs": [row if ok else None for row, ok in zip(outputs, answered, strict=True)],
        "error": [None if ok else error for ok in answered],
    }


def common_part(spec: ProblemSpec, seen: Seen, mask: Mask) -> list[Record]:
    """What a row's record says whoever answered it; sensitive values only as hashes."""
    now = time.time()
    return _rowwise(
        {
            "problem": [spec.name] * len(seen.rows),
            "event_id": [str(row[spec.id]) for row in seen.rows],
            "entity": [mask.text(spec.entity, str(entity)) for entity in seen.columns[spec.entity].tolist()],
            "day": event_day(spec, seen.columns).tolist(),
            "event_time": seen.columns[spec.time].astype(np.int64).tolist(),
            "served_at": [now] * len(seen.rows),
            "inputs": [mask.row({name: v for name, v in row.items() if v is not None}) for row in seen.rows],
            "features": _rowwise(_watched(seen, mask), len(seen.rows)),
            "as_of": _rowwise(_iso(seen.as_of), len(seen.rows)),
        },
        len(seen.rows),
    )


def _watched(seen: Seen, mask: Mask) -> dict[str, list[Any]]:
    """What the models see but for arrays and what is sensitive, and the statistics."""
    found = seen.inputs | seen.statistics
    return {n: column.tolist() for n, column in found.items() if column.ndim == 1 and n not in mask.features}


def _rowwise(columns: Mapping[str, list[Any]], n: int) -> list[dict[str, Any]]:
    if not columns:
        return [{} for _ in range(n)]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _iso(times: Mapping[str, np.ndarray]) -> dict[str, list[str | None]]:
    """ISO 8601 in UTC; None for NaT."""
    return {name: [_iso_text(moment) for moment in column.tolist()] for name, column in times.items()}


@lru_cache(maxsize=4096)  # the rows of an hour share a few
def _iso_text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment.isoformat()}Z"
