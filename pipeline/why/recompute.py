"""A prediction once more, offline: from the logged inputs and the original model, compared with what was logged.

The features are made by features.py of this checkout, look-ups are joined as of the logged times, and the graph is the
registered one, verified by its digest. Nothing is written.
"""

import tempfile
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from core import online
from core.columns import Columns, from_rows
from core.errors import DataError
from core.lookups import join, joined_key, model_inputs
from core.releases import ReleaseReader
from core.runtime import SELF_TEST_TOLERANCE, OnnxModel
from core.schema import ProblemSpec
from core.scored import statistics
from core.task import of
from problems import Problem

SMALL = 1e-4  # features nearer to 0 may differ by as much as this one
Values = dict[str, Any]  # what it is -> a number (None: missing or not finite) or a text


@dataclass(frozen=True)
class Difference:
    """A value that is not bit for bit what was logged."""

    what: str
    logged: Any
    replayed: Any
    off: float | None  # of numbers: |logged - replayed|
    rounding: bool  # no more than the order in which a batch is summed can do (core.runtime's tolerance)


@dataclass(frozen=True)
class Replay:
    """`basis`: what the model was given: "inputs", recomputed, or the logged "features"."""

    basis: str
    compared: int
    differences: list[Difference]

    @property
    def equal(self) -> bool:
        return all(difference.rounding for difference in self.differences)


def replay(engine: Engine, reader: ReleaseReader, problem: Problem, logged: Mapping[str, Any]) -> Replay:
    """Recompute and compare. Raises ModelRefused when the model's files are not those that were registered."""
    spec, before = problem.spec, _logged(logged)
    with tempfile.TemporaryDirectory() as folder:
        model = OnnxModel.load(reader.fetch(logged["model_version"], Path(folder)), spec)
    if spec.sensitive:
        answer = _answer(spec, model, _as_logged(spec, model, logged))
        before = {name: value for name, value in before.items() if name in answer}
        return Replay("features", len(answer), compared(before, answer, answer))
    inputs, made = _made(engine, problem, logged)
    answer = _answer(spec, model, inputs)
    return Replay("inputs", len(made) + len(answer), compared(before, made | answer, answer))


def compared(logged: Values, replayed: Values, answer: Container[str]) -> list[Difference]:
    """What differs. Numbers may by rounding: those of the answer as in a self-test, the others in proportion."""
    pairs = {name: (logged.get(name), replayed.get(name)) for name in logged | replayed}
    small = {name: 1.0 if name in answer else SMALL for name in pairs}
    return [_difference(name, *pair, small[name]) for name, pair in pairs.items() if pair[0] != pair[1]]


def _difference(what: str, logged: Any, replayed: Any, small: float) -> Difference:
    if not (isinstance(logged, float | int) and isinstance(replayed, float | int)):
        return Difference(what, logged, replayed, None, False)
    off = abs(logged - replayed)
    return Difference(what, logged, replayed, off, off <= SELF_TEST_TOLERANCE * max(small, abs(logged)))


def _made(engine: Engine, problem: Problem, logged: Mapping[str, Any]) -> tuple[Columns, Values]:
    """The model's inputs from those of the request; and all that the log has of them, but for the embedding."""
    spec = problem.spec
    derived: Columns = problem.features.features(from_rows(spec, [_row(spec, logged["inputs"])]))
    joined, used = join(derived, derived["prediction_time"], spec.lookups, _lookups(engine, spec, derived, logged))
    inputs = model_inputs(spec, joined)
    whole = inputs | statistics(spec, joined)
    single = {name: column for name, column in whole.items() if column.ndim == 1 and name not in spec.unlogged}
    times = {f"look-up {name} as of": _iso(at[0]) for name, at in used.items()}
    return inputs, times | {f"feature {name}": _plain(column[0]) for name, column in single.items()}


def _row(spec: ProblemSpec, inputs: Mapping[str, Any]) -> Values:
    return {n: datetime.fromisoformat(value) if n in spec.datetimes else value for n, value in inputs.items()}


def _lookups(engine: Engine, spec: ProblemSpec, derived: Columns, logged: Mapping[str, Any]) -> Any:
    keys = {name: str(joined_key(derived, about.keys)[0]) for name, about in spec.lookups.items()}
    at = {name: _seconds(logged["as_of"].get(name)) for name in spec.lookups}
    return online.then(engine, spec.name, spec.lookups, keys, at)


def _logged(logged: Mapping[str, Any]) -> Values:
    """What the log has, under the names that `_made` and `_answer` use.

    A graph gives float32. The log has all digits of a score, but SQLite reads them wrong in the last places.
    """
    score = None if logged["score"] is None else float(np.float32(logged["score"]))
    return (
        {f"look-up {name} as of": at for name, at in logged["as_of"].items()}
        | {f"feature {name}": value for name, value in logged["features"].items()}
        | {"score": score, "label": logged["label"]}
        | {f"output {i}": value for i, value in enumerate(logged["outputs"] or [])}
    )


def _as_logged(spec: ProblemSpec, model: OnnxModel, logged: Mapping[str, Any]) -> Columns:
    """The model's inputs as they were logged, for a problem whose log holds hashes of some columns."""
    kinds, features = model.contract.features, logged["features"]
    if lacking := [name for name in kinds if name not in features]:
        hashed = ", ".join(sorted(spec.sensitive))
        raise DataError(
            f"prediction {logged['id']} cannot be replayed: only hashes of {hashed} are logged, since they are "
            f"sensitive, and of the model's features not {', '.join(lacking)}"
        )
    types = {name: object if kind == "category" else np.float32 for name, kind in kinds.items()}
    return {name: np.array([features[name]], dtype) for name, dtype in types.items()}


def _answer(spec: ProblemSpec, model: OnnxModel, inputs: Columns) -> Values:
    """What the graph gives now. A graph that raises, or gives no finite number, has no answer."""
    task = of(spec)
    try:
        prediction, embedding = model.predict_and_embed(inputs)
    except Exception:  # noqa: BLE001  a graph may raise anything, and may have done so then
        return {"score": None}
    found = prediction.astype(np.float64)
    if not np.isfinite(found).all():
        return {"score": None}
    outputs = found[0].tolist() if found.ndim == 2 else []
    return (
        {"score": _plain(task.score(found)[0]), "label": task.names(found)[0]}
        | {f"output {i}": value for i, value in enumerate(outputs)}
        | {f"feature {name}": _plain(column[0]) for name, column in embedding.items()}
    )


def _plain(value: Any) -> Any:
    """As the log has it: NaN and infinity are null."""
    found = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(found, float) and not np.isfinite(found) else found


def _iso(moment: np.datetime64) -> str | None:
    return None if np.isnat(moment) else np.datetime_as_string(moment, timezone="UTC").item()


def _seconds(text: str | None) -> int | None:
    return None if text is None else int(datetime.fromisoformat(text).astimezone(UTC).timestamp())
