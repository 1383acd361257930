"""A small problem with two features, and live predictions drawn from a model that is right unless told otherwise."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from core import predictions
from core.database import connect
from core.schema import ProblemSpec
from monitoring.run import Champion
from problems import Problem

AS_OF = date(2013, 4, 20)
CHAMPION = Champion("3", AS_OF - timedelta(days=9), AS_OF - timedelta(days=9), base_rate=0.25, previous="2")
Store = Callable[..., None]


@pytest.fixture
def problem() -> Problem:
    columns = {
        "key": {"type": "string", "description": "event", "example": "a"},
        "who": {"type": "string", "description": "entity", "example": "w"},
        "at": {"type": "datetime", "description": "when", "example": "2013-04-01T00:00:00Z"},
    }
    spec = ProblemSpec.model_validate(
        {
            "name": "toy",
            "question": "?",
            "task": "binary",
            "target": "late",
            "id": "key",
            "entity": "who",
            "time": "at",
            "columns": columns,
            "features": {"wind": {"kind": "number"}, "gust": {"kind": "number"}, "carrier": {"kind": "category"}},
            "gate": {"metric": "log_loss", "slice_floor": {"metric": "roc_auc", "floor": 0.5}},
            "candidates": {},
        }
    )
    return Problem(spec)


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    engine = connect(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def champion() -> Champion:
    return replace(CHAMPION)


def sample(rows: int, seed: int, wind: float = 0.0, logit: float = 0.0, bias: float = 0.0) -> pd.DataFrame:
    """A scored frame. `wind` shifts an input that the model ignores, `logit` its prediction, `bias` the truth."""
    rng = np.random.default_rng(seed)
    prediction = 1 / (1 + np.exp(-rng.normal(-1.2 + logit, 0.8, rows)))
    outcome = rng.random(rows) < np.clip(prediction + bias, 0, 1)
    return pd.DataFrame(
        {
            "wind": rng.normal(wind, 1, rows),
            "gust": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(0, 1, rows)),
            "carrier": rng.choice(["AA", "UA", "DL"], rows),
            "prediction": prediction,
            "residual": outcome - prediction,
        }
    )


@pytest.fixture
def reference() -> pd.DataFrame:
    return sample(2000, seed=0)


@pytest.fixture
def store(engine: Engine) -> Store:
    """Put a scored frame into the prediction log, spread evenly over the days before AS_OF, with its outcomes."""

    def put(frame: pd.DataFrame, days: int = 7, version: str = "3", known_after_days: int = 0) -> None:
        logged, outcomes = [], []
        for i, row in enumerate(frame.to_dict("records")):
            day = AS_OF - timedelta(days=1 + i % days)
            logged.append(prediction(f"e{i}", day, row, version))
            if not np.isnan(row["residual"]):
                outcome = round(row["residual"] + row["prediction"])
                known_on = day + timedelta(days=known_after_days)
                outcomes.append({"problem": "toy", "event_id": f"e{i}", "outcome": outcome, "known_on": known_on})
        predictions.add(engine, logged)
        predictions.add_outcomes(engine, outcomes)

    return put


def prediction(
    event: str, day: date, row: Mapping[Any, Any], version: str = "3", served_at: float = 1.0
) -> dict[str, Any]:
    features = {name: row[name] for name in ("wind", "gust", "carrier")}
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
        "score": row["prediction"],
        "error": None,
        "latency_ms": 1.0,
        "inputs": {},
        "features": {name: None if value != value else value for name, value in features.items()},
        "as_of": {},
    }
