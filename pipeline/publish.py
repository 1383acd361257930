"""Bring a problem's look-ups up to date in the online store, where the server reads them."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from core import online
from core.clock import cutoff
from pipeline.features import key_columns, lookup_frames
from problems import Problem


def nightly(engine: Engine, problem: Problem, tables: dict[str, pd.DataFrame], as_of: date) -> int:
    """Write what became known over the day before the cut-off of `as_of`, from the last partitions' tables.

    Returns how many rows were new.
    """
    frames = lookup_frames(problem, tables)
    clock = problem.spec.clock
    since, until = cutoff(clock, as_of - timedelta(days=1)), cutoff(clock, as_of)
    return sum(write(engine, problem, name, between(frame, since, until)) for name, frame in frames.items())


def between(frame: pd.DataFrame, since: np.datetime64, until: np.datetime64) -> pd.DataFrame:
    """Rows that became available from `since` up to `until`, both included.

    What is made at a cut-off comes from the partitions before it, what is observed at it from the one that it opens.
    """
    return frame[(frame["available_at"] >= since) & (frame["available_at"] <= until)]


def write(engine: Engine, problem: Problem, name: str, frame: pd.DataFrame) -> int:
    """Write a look-up's frame to the online store."""
    keys = key_columns(problem.spec, name, frame)
    at = frame["available_at"].to_numpy("datetime64[s]").astype(int)
    values = frame[list(problem.spec.lookups[name].values)].astype(object)
    records: list[dict[str, Any]] = values.where(values.notna(), None).to_dict("records")  # type: ignore[assignment]
    rows = ({"key": str(k), "available_at": int(t), "values": v} for k, t, v in zip(keys, at, records, strict=True))
    return online.write(engine, problem.spec.name, name, list(rows))
