"""The live window as a frame."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from monitoring import frames
from problems import Problem
from tests.monitoring.conftest import AS_OF, prediction

DAY = AS_OF - timedelta(days=1)
ROW = {"wind": 1.0, "gust": float("nan"), "carrier": "AA", "prediction": 0.2}


def live(event: str, outcome: float | None, **kwargs: Any) -> dict[str, Any]:
    return {**prediction(event, DAY, {**ROW, "prediction": kwargs.pop("score", 0.2)}, **kwargs), "outcome": outcome}


def test_of_several_predictions_of_one_event_the_latest_counts(problem: Problem) -> None:
    rows = [live("a", 1.0, score=0.9, served_at=5.0), live("a", 1.0, score=0.1, served_at=3.0), live("b", None)]
    frame = frames.current(problem.spec, rows, "3")
    assert frame["prediction"].tolist() == [0.9, 0.2]
    np.testing.assert_allclose(frame["residual"], [0.1, np.nan])


def test_other_versions_answers_are_not_the_champions(problem: Problem) -> None:
    rows = [live("a", 1.0), live("a", 1.0, version="4", served_at=9.0), live("b", 1.0, version="4")]
    assert frames.current(problem.spec, rows, "3")["prediction"].tolist() == [0.2]


def test_an_empty_window_has_all_columns(problem: Problem) -> None:
    frame = frames.current(problem.spec, [], "3")
    assert list(frame) == ["wind", "gust", "carrier", "prediction", "residual", "day"]
    assert frame.empty


def test_missing_markers_of_both_kinds_count_as_missing(problem: Problem) -> None:
    frame = pd.DataFrame({"wind": [1, np.inf], "gust": [None, 2.0], "carrier": ["__NA__", "AA"], "prediction": 0.5})
    typed = frames.typed(problem.spec, frame)
    assert frames.null_shares(problem.spec, typed) == {"wind": 0.5, "gust": 0.5, "carrier": 0.5}
    assert typed["residual"].isna().all()
