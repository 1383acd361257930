"""Who answers which row, and what happens when a model fails. Works on features; knows no request and no log.

A canary that raises, or gives a row no finite number, costs nobody an answer: the champion answers that row.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.columns import Columns
from core.predictions import CANARY, CHAMPION
from serving.state import ServedModel, State

NOT_FINITE = "no finite prediction"


@dataclass(frozen=True)
class Attempt:
    """One model on some rows: their numbers, a new id each, what it predicts, and its embedding's columns.

    A prediction is as core.task describes; a row on which the model failed is NaN, and `answered` is false.
    """

    model: ServedModel
    role: str
    rows: np.ndarray
    ids: list[str]
    prediction: np.ndarray
    answered: np.ndarray
    embedding: Columns
    latency_ms: float
    error: str

    @property
    def raised(self) -> bool:
        """The model gave nothing for any of the rows: another row's fault may have hit them, too."""
        return self.error != NOT_FINITE


def score(state: State, entities: np.ndarray, inputs: Columns) -> list[Attempt]:
    """Every row by its model. A row that the canary failed on is in the champion's attempt, too."""
    assert state.champion is not None
    if state.canary is None:
        return [attempt(state.champion, CHAMPION, inputs, np.arange(len(entities)))]
    by_canary = state.by_canary(entities)
    attempts = []
    if by_canary.any():
        attempts.append(attempt(state.canary, CANARY, inputs, np.flatnonzero(by_canary)))
        by_canary[attempts[0].rows] = attempts[0].answered
    if not by_canary.all():
        attempts.append(attempt(state.champion, CHAMPION, inputs, np.flatnonzero(~by_canary)))
    return attempts


def attempt(
    model: ServedModel, role: str, inputs: Columns, rows: np.ndarray, clock: Callable[[], float] = time.perf_counter
) -> Attempt:
    """One model on those rows of the inputs. `clock` is in seconds."""
    every = len(rows) == len(next(iter(inputs.values())))
    mine = inputs if every else {name: column[rows] for name, column in inputs.items()}
    started = clock()
    prediction, embedding, error = _run(model, mine, len(rows))
    latency_ms = (clock() - started) * 1000 / len(rows)
    answered = np.isfinite(prediction)
    if prediction.ndim == 2:
        answered = answered.all(axis=1)
    prediction[~answered] = np.nan
    return Attempt(model, role, rows, new_ids(len(rows)), prediction, answered, embedding, latency_ms, error)


def _run(model: ServedModel, inputs: Columns, n: int) -> tuple[np.ndarray, Columns, str]:
    """Predictions, the embedding, and what is wrong with predictions that are not finite."""
    try:
        prediction, embedding = model.onnx.predict_and_embed(inputs)
        return prediction.astype(np.float64), embedding, NOT_FINITE
    except Exception as error:  # noqa: BLE001  a graph may raise anything; it is recorded and counted
        classes = len(model.onnx.contract.classes)
        return np.full((n, classes) if classes > 2 else n, np.nan), {}, f"{type(error).__name__}: {str(error)[:200]}"


def new_ids(n: int) -> list[str]:
    """Unique ids of 32 hex digits that sort by time, which an index likes: milliseconds, then 80 random bits."""
    prefix, random = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10 * n).hex()
    return [prefix + random[i : i + 20] for i in range(0, 20 * n, 20)]
