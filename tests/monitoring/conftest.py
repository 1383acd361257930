"""A small problem of any task, and live predictions drawn from a model that is right unless told otherwise."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from core import predictions
from core.database import connect
from core.schema import ProblemSpec
from core.scored import Trivial, judged
from core.task import of
from monitoring.run import Champion
from problems import Problem

AS_OF = date(2013, 4, 20)
TASKS: dict[str, dict[str, Any]] = {
    "binary": {"gate": {"metric": "log_loss"}},
    "multiclass": {"gate": {"metric": "accuracy"}, "classes": ["left", "middle", "right"]},
    "regression": {"gate": {"metric": "mae"}},
}
TRIVIAL = {
    "binary": Trivial(constant=0.25),
    "multiclass": Trivial(constant=[0.3, 0.4, 0.3]),
    "regression": Trivial(constant=10.0, scale=4.0),
}
Store = Callable[..., None]


def toy(task: str = "binary", **changes: Any) -> ProblemSpec:
    columns = {
        "key": {"type": "string", "description": "event", "example": "a"},
        "who": {"type": "string", "description": "entity", "example": "w"},
        "at": {"type": "datetime", "description": "when", "example": "2013-04-01T00:00:00Z"},
    }
    return ProblemSpec.model_validate(
        {
            "name": "toy",
            "question": "?",
            "task": task,
            "target": "late",
            "classes": [],
            "id": "key",
            "entity": "who",
            "time": "at",
            "columns": columns,
            "features": {"wind": {"kind": "number"}, "gust": {"kind": "number"}, "carrier": {"kind": "category"}},
            "slices": [],
            "split": {},
            "candidates": {},
            **TASKS[task],
            **changes,
        }
    )


def champion_of(task: str = "binary") -> Champion:
    return Champion("3", AS_OF - timedelta(days=9), AS_OF - timedelta(days=9), TRIVIAL[task], previous="2")


@pytest.fixture
def problem() -> Problem:
    return Problem(toy())


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = connect(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def champion() -> Champion:
    return champion_of()


@dataclass(frozen=True)
class World:
    """What came in, what was predicted and how it turned out (NaN: not known), a row an event."""

    inputs: pd.DataFrame
    prediction: np.ndarray
    y: np.ndarray

    def scored(self, spec: ProblemSpec) -> pd.DataFrame:
        return self.inputs.assign(**judged(spec, self.prediction, self.y, TRIVIAL[spec.task]))


def world(
    rows: int, seed: int, task: str = "binary", wind: float = 0.0, shift: float = 0.0, bias: float = 0.0
) -> World:
    """`wind` shifts an input that the model ignores, `shift` its prediction, `bias` the truth."""
    rng = np.random.default_rng(seed)
    prediction, y = TRUTHS[task](rng, rows, shift, bias)
    inputs = {
        "wind": rng.normal(wind, 1, rows),
        "gust": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(0, 1, rows)),
        "carrier": rng.choice(["AA", "UA", "DL"], rows),
    }
    return World(pd.DataFrame(inputs), prediction, y)


def _binary(rng: np.random.Generator, rows: int, shift: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    prediction = 1 / (1 + np.exp(-rng.normal(-1.2 + shift, 0.8, rows)))
    return prediction, (rng.random(rows) < np.clip(prediction + bias, 0, 1)).astype(np.float64)


def _multiclass(rng: np.random.Generator, rows: int, shift: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """`shift` favours the first class; of a share `bias` of the rows the truth is the next class instead."""
    raw = np.exp(rng.normal([shift, 0.3, 0], 1.2, (rows, 3)))
    prediction = raw / raw.sum(axis=1, keepdims=True)
    y = (rng.random((rows, 1)) > prediction.cumsum(axis=1)[:, :2]).sum(axis=1)
    return prediction, ((y + (rng.random(rows) < bias)) % 3).astype(np.float64)


def _regression(rng: np.random.Generator, rows: int, shift: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """`shift` and `bias` in standard deviations of the target."""
    prediction = rng.normal(10 + 4 * shift, 3, rows)
    return prediction, prediction + rng.normal(4 * bias, 2, rows)


TRUTHS: dict[str, Callable[[np.random.Generator, int, float, float], tuple[np.ndarray, np.ndarray]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _regression,
}


@pytest.fixture
def reference(problem: Problem) -> pd.DataFrame:
    return world(2000, seed=0).scored(problem.spec)


@pytest.fixture
def store(engine: Engine) -> Store:
    """Put a world into the prediction log, spread evenly over the days before AS_OF, with its outcomes."""

    def put(
        live: World, days: int = 7, version: str = "3", known_after_days: int = 0, task: str = "binary", **shared: Any
    ) -> None:
        logged, outcomes = [], []
        for i, (row, predicted, y) in enumerate(
            zip(live.inputs.to_dict("records"), live.prediction, live.y, strict=True)
        ):
            day = AS_OF - timedelta(days=1 + i % days)
            logged.append(answer(f"e{i}", day, row, predicted, version, task=task) | shared)
            if not np.isnan(y):
                known_on = day + timedelta(days=known_after_days)
                outcomes.append({"problem": "toy", "event_id": f"e{i}", "outcome": float(y), "known_on": known_on})
        predictions.add(engine, logged)
        predictions.add_outcomes(engine, outcomes)

    return put


def answer(
    event: str,
    day: date,
    features: Mapping[Any, Any],
    predicted: Any,
    version: str = "3",
    served_at: float = 1.0,
    task: str = "binary",
) -> dict[str, Any]:
    """A row of the prediction log."""
    as_array = np.asarray([predicted], np.float64)
    kind = of(toy(task))
    return {
        "id": f"{event}-{version}-{served_at}",
        "problem": "toy",
        "event_id": event,
        "entity": "w",
        "day": day,
        "event_time": day.toordinal() * 86400,
        "served_at": served_at,
        "model_version": version,
        "role": "champion",
        "score": float(kind.score(as_array)[0]),
        "label": kind.names(as_array)[0],
        "outputs": as_array[0].tolist() if task == "multiclass" else None,
        "error": None,
        "latency_ms": 1.0,
        "inputs": {},
        "features": {name: None if value != value else value for name, value in features.items()},
        "as_of": {},
    }
