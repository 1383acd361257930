"""Validated rows to answers: columns, the problem's features, look-ups as of the prediction time, models.

It writes nothing: the caller spools the records before it sends the answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress

import numpy as np

from core.columns import Columns, from_rows
from core.errors import ModelRefused
from core.explain import Explanation, explain
from core.lookups import join, model_inputs
from core.scored import statistics
from core.sensitive import Mask
from problems import Problem
from serving.answers import Answer, Said, saying
from serving.explain import refuse
from serving.parsing import Row
from serving.records import Record, Seen, common_part, of_attempts
from serving.scoring import Attempt, score
from serving.state import ServedModel, State


@dataclass(frozen=True)
class Answered:
    """Answers by row (None where every model failed), all that was tried, and its records.

    What the models saw, and each row's record as far as it is the same whoever answers, are for a shadow."""

    answers: list[Answer | None]
    attempts: list[Attempt]
    records: list[Record]
    seen: Seen
    common: list[Record]

    @property
    def raised(self) -> bool:
        """Whether a model raised."""
        return any(attempt.raised for attempt in self.attempts)


class Predictor:
    """Predicts for one problem. The mask is for what is logged, the models see the true values."""

    def __init__(self, problem: Problem, mask: Mask) -> None:
        self._mask = mask
        self._spec, self._features, self._say = problem.spec, problem.features.features, saying(problem.spec)
        self._numbers = [name for name, feature in problem.spec.features.items() if feature.kind == "number"]

    def answer(self, state: State, rows: list[Row]) -> Answered:
        """Answer with this state, whatever the follower does meanwhile."""
        return self._answered(*self._tried(state, rows))

    def explain(self, state: State, row: Row) -> tuple[Answered, Explanation | None]:
        """The answer for one row, and what moved it; None when every model failed. Raises Refused, 409."""
        seen, attempts = self._tried(state, [row])
        return self._answered(seen, attempts), _explained(seen, attempts[-1])

    def _tried(self, state: State, rows: list[Row]) -> tuple[Seen, list[Attempt]]:
        seen = self._seen(state, self._timed(rows))
        return seen, score(state, seen.columns[self._spec.entity], seen.inputs)

    def _answered(self, seen: Seen, attempts: list[Attempt]) -> Answered:
        answers: list[Answer | None] = [None] * len(seen.rows)
        missing = _names(self._numbers, self._absent(seen), len(seen.rows))
        for attempt in attempts:
            for row, answer in self._answers(seen, attempt, missing):
                answers[row] = answer
        shared = common_part(self._spec, seen, self._mask)
        return Answered(answers, attempts, of_attempts(self._spec, attempts, shared), seen, shared)

    def _absent(self, seen: Seen) -> np.ndarray:
        """Which numbers are, bool, shape (numbers, n)."""
        numbers = [seen.inputs[name] for name in self._numbers]
        return np.isnan(np.concatenate(numbers)).reshape(len(numbers), -1) if numbers else np.empty((0, 0), bool)

    def _timed(self, rows: list[Row]) -> list[Row]:
        """Where the time is optional, its default is the moment of arrival."""
        time = self._spec.time
        if not self._spec.columns[time].optional:
            return rows
        now = datetime.now(UTC).replace(microsecond=0)
        return [row if row.get(time) is not None else row | {time: now} for row in rows]

    def _seen(self, state: State, rows: list[Row]) -> Seen:
        columns = from_rows(self._spec, rows)
        derived = self._features(columns)
        joined, used = join(derived, derived["prediction_time"], self._spec.lookups, state.lookups)
        inputs = model_inputs(self._spec, joined)
        return Seen(rows, columns, inputs, statistics(self._spec, joined), used)

    def _answers(self, seen: Seen, attempt: Attempt, missing: list[list[str]]) -> Iterator[tuple[int, Answer]]:
        """Row and answer, for the rows that this attempt answered."""
        version, role = attempt.model.version, attempt.role
        unseen = _unseen(attempt.model, seen.inputs)
        unknown = _names(list(unseen), list(unseen.values()), len(seen.rows))
        rows = attempt.rows[attempt.answered].tolist()
        ids = compress(attempt.ids, attempt.answered.tolist())
        for row, prediction_id, said in zip(rows, ids, self._said(attempt), strict=True):
            yield (
                row,
                {
                    "prediction_id": prediction_id,
                    "event_id": str(seen.rows[row][self._spec.id]),
                    **said,
                    "model_version": version,
                    "role": role,
                    "missing": missing[row],
                    "unknown": unknown[row],
                },
            )

    def _said(self, attempt: Attempt) -> list[Said]:
        return self._say(attempt.prediction[attempt.answered])


def _explained(seen: Seen, last: Attempt) -> Explanation | None:
    """Of the one row, by the model that answered it."""
    if not last.answered[0]:
        return None
    try:
        return explain(last.model.onnx, seen.inputs, last.prediction)
    except ModelRefused as reason:
        raise refuse(last.model.version, reason) from reason


def _names(names: list[str], flags: np.ndarray | list[np.ndarray], n: int) -> list[list[str]]:
    """For each of n rows, the names whose flags, shape (names, n), are set."""
    out: list[list[str]] = [[] for _ in range(n)]
    for name, row in np.argwhere(flags).tolist() if names else ():
        out[row].append(names[name])
    return out


def _unseen(model: ServedModel, inputs: Columns) -> dict[str, np.ndarray]:
    """Category feature -> which rows hold a value that this model's training never saw."""
    flags = {}
    for name, known in model.categories.items():
        values = inputs[name].tolist()
        new = set(values) - known
        if new:
            flags[name] = np.array([value in new for value in values])
    return flags
