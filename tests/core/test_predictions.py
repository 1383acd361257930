"""The prediction log: what a line says is what is found again, in both databases."""

import json
from datetime import date
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from core import predictions
from core.database import connect

SCORES = np.random.default_rng(5).random(200).astype(np.float32)
ODD = {"text": 'größe \u2028 "\U0001f6eb" \\', "third": 1 / 3, "float32": float(np.float32(0.1)), "tiny": 5e-324}


@pytest.fixture
def engine(store_url: str) -> Any:
    made = connect(store_url)
    yield made
    made.dispose()


def line(id: str, score: float, **more: Any) -> bytes:
    record = {
        "problem": "p",
        "event_id": f"event of {id}",
        "entity": "e",
        "day": "2013-04-01",
        "event_time": 1364774400,
        "served_at": 1763744929.6153,
        "model_version": "1",
        "role": "champion",
        "label": None,
        "outputs": [0.1, 1 / 3],
        "error": None,
        "latency_ms": 0.1,
        "inputs": ODD | {"array": [0.1, 7, 255.0]},
        "features": ODD | {"missing": None},
        "as_of": {"weather": "2013-03-31T23:00:00Z", "load": None},
    }
    return json.dumps({"id": id, "score": score, **record, **more}, ensure_ascii=False).encode()


def test_inputs_and_features_come_back_bit_for_bit_and_scores_as_the_same_float32(engine: Engine) -> None:
    """Without this no prediction could be replayed. SQLite reads the last digits of a lone number wrong."""
    predictions.add_lines(engine, [line(f"{i:03}", score) for i, score in enumerate(SCORES.tolist())])
    found = [predictions.find(engine, f"{i:03}") for i in range(len(SCORES))]
    assert np.array_equal(np.array([row["score"] for row in found if row], np.float32), SCORES)
    assert found[0]
    assert found[0]["inputs"] == ODD | {"array": [0.1, 7, 255.0]}
    assert found[0]["features"] == ODD | {"missing": None}
    assert found[0]["outputs"] == [0.1, 1 / 3]
    assert found[0]["as_of"] == {"weather": "2013-03-31T23:00:00Z", "load": None}


def test_a_prediction_is_found_with_its_event_s_outcome_once_that_is_known(engine: Engine) -> None:
    predictions.add_lines(engine, [line("a", 0.5), line("b", 0.5)])
    outcome = {"problem": "p", "event_id": "event of a", "outcome": 1.0, "known_on": date(2013, 4, 2)}
    predictions.add_outcomes(engine, [outcome])
    known, unknown = predictions.find(engine, "a"), predictions.find(engine, "b")
    assert known
    assert unknown
    assert (known["outcome"], known["known_on"]) == (1.0, date(2013, 4, 2))
    assert (unknown["outcome"], unknown["known_on"]) == (None, None)
    assert predictions.find(engine, "c") is None


def test_of_a_long_trial_a_sample_of_requests_is_judged_and_what_both_said_of_one_stays_together(
    engine: Engine,
) -> None:
    at = 1763744929.0 + np.random.default_rng(1).random(2000)
    for version, role in (("1", "champion"), ("2", "shadow"), ("3", "champion")):
        lines = [line(f"{version} {i}", 0.5, model_version=version, role=role, served_at=t) for i, t in enumerate(at)]
        predictions.add_lines(engine, lines)
    every = predictions.by_version(engine, "p", ["1", "2"], at.min())
    some = predictions.by_version(engine, "p", ["1", "2"], at.min(), most=1000)
    assert len(every) == 4000
    assert {row["model_version"] for row in some} == {"1", "2"}
    assert 800 < len(some) < 1200
    of_1, of_2 = ({row["served_at"] for row in some if row["model_version"] == version} for version in "12")
    assert of_1 == of_2
