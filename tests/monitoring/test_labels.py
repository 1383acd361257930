"""Labels become outcomes once."""

from datetime import date

import pandas as pd
from sqlalchemy import Engine, select

from core.predictions import OUTCOMES
from monitoring.labels import mature
from problems import Problem


def test_labels_are_stored_once_and_events_without_one_are_not(engine: Engine, problem: Problem) -> None:
    labels = pd.DataFrame({"key": ["a", "b", "c"], "late": [1.0, 0.0, None]})
    assert mature(engine, problem, labels, date(2013, 4, 1)) == 2
    assert mature(engine, problem, labels.assign(late=0.0), date(2013, 4, 2)) == 1  # c is new; a and b stand
    with engine.connect() as connection:
        rows = connection.execute(select(OUTCOMES.c.event_id, OUTCOMES.c.outcome).order_by("event_id")).all()
    assert [tuple(row) for row in rows] == [("a", 1.0), ("b", 0.0), ("c", 0.0)]
