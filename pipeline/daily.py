"""What a night brings in: partitions, look-ups in the online store, and the labels that have matured.

The look-ups of a day and the labels of the predictions both come from the last partitions; nothing is trained here.
"""

import logging
from datetime import date, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from core import database, predictions
from core.config import settings
from core.errors import DataError
from core.task import of
from pipeline import publish, raw, validate
from pipeline.stages import Job
from problems import Problem, load

SPAN_DAYS = 9  # partitions that the newest look-up rows are made of, and that a late night catches up with
log = logging.getLogger(__name__)


def ingest(as_of: date) -> dict[str, Any]:
    """Bring in what became known before the cut-off of `as_of`. Returns counts; repeating it changes nothing.

    A night after days that the source does not have brings nothing.
    """
    given, problem = settings(), load()
    engine = database.connect(given.store_url)
    first, last = as_of - timedelta(days=SPAN_DAYS), as_of - timedelta(days=1)
    got = raw.ingest(engine, problem, given.remote_url, raw.missing_days(engine, problem, first, last))
    if not raw.known_days(engine, problem, first, last):
        log.warning("as of %s: the source has no day from %s to %s, a quiet night", as_of, first, last)
        return {"partitions": 0, "lookup_rows": 0, "labels": 0}
    with raw.fetched(engine, problem, given.remote_url, first, last) as folder:
        tables = raw.read(folder, leave_out=frozenset(validate.quarantined(problem.spec, folder)))
    if raw.LABELS not in tables:
        raise DataError(f"every partition from {first} to {last} is quarantined; the log above says why")
    rows = publish.nightly(engine, problem, tables, as_of)
    labels = mature(engine, problem, tables[raw.LABELS])
    log.info("as of %s: %d partitions, %d look-up rows, %d labels are new", as_of, len(got.new), rows, labels)
    return {"partitions": len(got.new), "lookup_rows": rows, "labels": labels}


def ingest_window(job: Job) -> Job:
    """Fetch the window's missing days, and fix the data version of this life cycle."""
    given, problem = settings(), load()
    as_of = date.fromisoformat(job["as_of"])
    engine = database.connect(given.store_url)
    missing = raw.missing_days(engine, problem, *raw.window(problem.spec.split, as_of))
    raw.ingest(engine, problem, given.remote_url, missing)
    ingest(as_of)
    version = raw.data_version(engine, problem, given.remote_url, as_of)
    log.info("%d new partitions, data version %s", len(missing), version["md5"])
    return {**job, "raw": version}


def mature(engine: Engine, problem: Problem, labels: pd.DataFrame) -> int:
    """Write labels {id, target, partition} as outcomes of predictions (core.task's y). Returns how many were new."""
    spec = problem.spec
    y = of(spec).encode(labels[spec.target]).tolist()
    columns = zip(labels[spec.id], y, labels[raw.PARTITION], strict=True)
    rows = [{"problem": spec.name, "event_id": i, "outcome": y, "known_on": day} for i, y, day in columns]
    return predictions.add_outcomes(engine, rows)
