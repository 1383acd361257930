"""Moments of a table to datetime64[s] in UTC and their offsets in minutes, by the column, as the server reads them.

A text is ISO 8601 with a UTC offset, unless the problem's data.py says how its source writes it (FORMS, core.tables).
A timestamp with a time zone has that zone's offset; one without is UTC, and so is a date, where no column
NAME_utc_offset stands beside it.
"""

import re
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core import tables

OFFSET = re.compile(r"(?:[Zz]|([+-])(\d\d):?(\d\d)?)$")
SUFFIX = 6  # letters of the longest offset, such as -04:00
Moments = tuple[np.ndarray, np.ndarray]  # datetime64[s], NaT for what is none; minutes, NaN likewise


def read(values: pa.Array, offsets: pa.Array | None, form: str | None) -> Moments:
    """`form` as core.tables.moments takes it, for texts and numbers that are not written in ISO 8601 with an offset."""
    if form is not None and not pa.types.is_timestamp(values.type):
        return _formed(values, form)
    if pa.types.is_string(values.type):
        return _texts(values)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return _stamps(values, offsets)
    return _nothing(len(values))


def _stamps(values: pa.Array, offsets: pa.Array | None) -> Moments:
    at = values.cast(pa.timestamp("us"), safe=False) if pa.types.is_date(values.type) else values
    seconds = _seconds(at)
    if offsets is not None:
        minutes = offsets.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    elif at.type.tz is not None:
        local = _seconds(pc.local_timestamp(at))
        minutes = np.where(np.isnat(seconds), np.nan, (local - seconds).astype(np.float64) / 60)
    else:
        minutes = np.where(np.isnat(seconds), np.nan, 0.0)
    return np.where(np.isnan(minutes), np.datetime64("NaT", "s"), seconds), minutes


def _texts(values: pa.Array) -> Moments:
    """ISO 8601 at Arrow's speed; a chunk with anything else in it value by value."""
    for unit in ("s", "us"):
        try:
            at = values.cast(pa.timestamp(unit, "UTC"))
        except pa.ArrowInvalid:
            continue
        return _with_offset(_seconds(at), values)
    return _one_by_one(values.to_pylist())


def _with_offset(seconds: np.ndarray, values: pa.Array) -> Moments:
    ends = pc.utf8_slice_codeunits(values, -SUFFIX).dictionary_encode()
    known = np.array([_minutes(text) for text in ends.dictionary.to_pylist()] + [np.nan])
    minutes = known[ends.indices.fill_null(len(known) - 1).to_numpy()]
    return np.where(np.isnan(minutes), np.datetime64("NaT", "s"), seconds), minutes


def _minutes(text: str) -> float:
    """Of a moment's last letters; NaN where they are no offset, as in a date's -01-31."""
    found = OFFSET.search(text)
    if found is None or (found[1] and len(text) > 5 and text[-6] == "-" and text[-3] == "-"):
        return np.nan
    if found[1] is None:
        return 0.0
    return (int(found[2]) * 60 + int(found[3] or 0)) * (-1.0 if found[1] == "-" else 1.0)


def _one_by_one(texts: list[str | None]) -> Moments:
    found = [_moment(text) for text in texts]
    seconds = np.array([None if at is None else int(at.timestamp()) for at in found], "datetime64[s]")
    minutes = [np.nan if at is None or (o := at.utcoffset()) is None else o.total_seconds() / 60 for at in found]
    return seconds, np.array(minutes, np.float64)


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _formed(values: pa.Array, form: str) -> Moments:
    seconds = tables.moments(pd.Series(values.to_pandas()), form).to_numpy("datetime64[s]")
    return seconds, np.where(np.isnat(seconds), np.nan, 0.0)


def _seconds(at: pa.Array) -> np.ndarray:
    """Whole seconds; NaT for null. A part of a second is dropped."""
    found: np.ndarray = at.cast(pa.timestamp(at.type.unit)).to_numpy(zero_copy_only=False).astype("datetime64[s]")
    return found


def _nothing(n: int) -> Moments:
    return np.full(n, np.datetime64("NaT", "s")), np.full(n, np.nan)
