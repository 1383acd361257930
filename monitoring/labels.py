"""Labels mature here: a partition's outcomes join the predictions that were made for their events."""

import logging
from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from core import predictions
from problems import Problem

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def mature(engine: Engine, problem: Problem, labels: "pd.DataFrame", known_on: date) -> int:
    """Store the labels (id column and target) of the partition of `known_on`. Returns how many were new.

    An event without a label (one that never took place) has no outcome. Repeating a partition changes nothing.
    """
    spec = problem.spec
    known = labels[labels[spec.target].notna()]
    rows = [
        {"problem": spec.name, "event_id": str(event), "outcome": float(outcome), "known_on": known_on}
        for event, outcome in zip(known[spec.id], known[spec.target], strict=True)
    ]
    new = predictions.add_outcomes(engine, rows)
    log.info(
        "%s %s: %d labels, %d new, %d rows without one", spec.name, known_on, len(rows), new, len(labels) - len(rows)
    )
    return new
