"""Columns of the request to columns of the model: the one feature code of training and serving. Numpy only.

Look-up values (weather, rates, load) are not made here: core.lookups joins them, on the keys derived here.
"""

import numpy as np

from core.columns import Columns, as_text, offset_name

LEAD = np.timedelta64(60, "m")  # a prediction is made this long before the scheduled departure
MINUTES_PER_DAY = 24 * 60


def features(columns: Columns) -> Columns:
    """Add the derived columns, shape (n,) each, to the request's columns."""
    departure, arrival = columns["sched_dep"], columns["sched_arr"]
    local = _local(columns, "sched_dep")
    dep_min = _minute_of_day(local)
    return columns | {
        "prediction_time": (departure - LEAD).astype("datetime64[s]"),
        "dep_min": dep_min,
        "dow": (local.astype("datetime64[D]").astype(np.int64) + 3) % 7,  # 1970-01-01, day 0, was a Thursday
        "arr_min": _minute_of_day(_local(columns, "sched_arr")),
        "sched_block": (arrival - departure) / np.timedelta64(1, "m"),
        "dep_hour": hour_of_day(dep_min),
        "dep_hour_utc": hour_of_year(departure),
    }


def hour_of_day(minute: np.ndarray) -> np.ndarray:
    """Key: minutes of the day, an integer, to the hour as text, such as "7"."""
    return as_text((minute // 60).astype(np.int64))


def hour_of_year(time: np.ndarray) -> np.ndarray:
    """Key: datetime64 to its hour as text, such as "2013-04-01T11"."""
    return as_text(time.astype("datetime64[h]"))


def _local(columns: Columns, name: str) -> np.ndarray:
    local: np.ndarray = columns[name] + columns[offset_name(name)].astype("timedelta64[m]")
    return local


def _minute_of_day(local: np.ndarray) -> np.ndarray:
    return local.astype("datetime64[m]").astype(np.int64) % MINUTES_PER_DAY
