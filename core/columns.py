"""Rows to columns and back. A request's rows and a table's frame become the same arrays, by the problem's schema.

A datetime column travels as ISO 8601 with a UTC offset. As columns it is two: NAME (datetime64[s], UTC) and
NAME_utc_offset (minutes), so the local clock is known without a table of time zones. An array travels nested or flat
and is one column of shape (n, size); a frame holds it as one list a row, nested or flat. Text travels as text.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import MISSING_CATEGORY, ProblemSpec

if TYPE_CHECKING:
    import pandas as pd

Columns = dict[str, np.ndarray]
FEW = 256  # rows below which the plain way is the fastest
LETTER_BITS, FNV = np.uint64(21), np.uint64(0x100000001B3)  # of a code point; the prime of Fowler, Noll and Vo
SLOT_BITS = 18
SLOTS, SLOT_SHIFT = 1 << SLOT_BITS, np.uint64(64 - SLOT_BITS)
FACTORS = [np.uint64(f) for f in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93)]  # odd, well mixed


def offset_name(name: str) -> str:
    return f"{name}_utc_offset"


def from_rows(spec: ProblemSpec, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Validated request rows (datetimes as aware `datetime`) to columns of shape (n,). An absent number is NaN."""
    out: Columns = {}
    for name, column in spec.columns.items():
        values = [row.get(name) for row in rows]
        if column.type == "datetime":
            out[name] = np.array([None if v is None else int(v.timestamp()) for v in values], "datetime64[s]")
            out[offset_name(name)] = np.array([np.nan if v is None else _offset_min(v) for v in values], np.float64)
        elif column.type == "number":
            out[name] = _numbers(values)
        elif column.type == "array":
            out[name] = stacked(values, column.size)
        else:
            out[name] = np.array([MISSING_CATEGORY if v is None else v for v in values], str)
    sent = set().union(*rows)
    for name in spec.lookup_values:
        if name in sent and any(row.get(name) is not None for row in rows):
            out[name] = _numbers(row.get(name) for row in rows)
    return out


def from_frame(spec: ProblemSpec, frame: "pd.DataFrame") -> Columns:
    """The event table's frame (datetimes as naive UTC plus NAME_utc_offset) to columns of shape (n,)."""
    out: Columns = {}
    for name, column in spec.columns.items():
        if column.type == "datetime":
            out[name] = frame[name].to_numpy("datetime64[s]")
            out[offset_name(name)] = frame[offset_name(name)].to_numpy(np.float64)
        elif column.type == "number":
            out[name] = frame[name].to_numpy(np.float64, na_value=np.nan)
        elif column.type == "array":
            out[name] = stacked(frame[name], column.size)
        else:
            out[name] = np.array([MISSING_CATEGORY if v is None else v for v in _texts(frame[name])], str)
    return out


def to_rows(spec: ProblemSpec, frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """The event table's frame to request rows, ready for JSON. Missing values are left out."""
    texts = {name: _travelling(spec, frame, name) for name in spec.columns}
    rows = (dict(zip(texts, values, strict=True)) for values in zip(*texts.values(), strict=True))
    return [{name: v for name, v in row.items() if v is not None and v == v} for row in rows]


def stacked(values: Iterable[Any], size: int) -> np.ndarray:
    """Arrays of one size, one a row, as float32 of shape (n, size). One that is missing is all NaN."""
    rows = [np.full(size, np.nan, np.float32) if is_missing(v) else flat(v).astype(np.float32) for v in values]
    return np.stack(rows) if rows else np.empty((0, size), np.float32)


def flat(value: Any) -> np.ndarray:
    """A list or an array, nested in any way (as Parquet does, arrays in an array of objects), as one of shape (m,)."""
    array = np.asarray(value)
    return array.ravel() if array.dtype != object else np.concatenate([flat(part) for part in array])


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct value of a column, shape (n,), is found first or last, shape (k,), and which of them a row
    holds, shape (n,): `values[where][which]` is `values`.

    The distinct ones have no order. Several times faster than np.unique, which sorts, where k is far below n.
    """
    hashed, exact = _hashed(values)
    for factor in FACTORS:
        slot = (hashed * factor) >> SLOT_SHIFT
        place = np.empty(SLOTS, np.int32)  # uninitialised: only what is written is read
        row = np.arange(len(slot), dtype=np.int32)
        place[slot] = row
        last = place[slot]
        same = hashed[last] == hashed if exact else values[last] == values
        if same.all():  # no two values share a slot
            where = np.flatnonzero(last == row)
            place[slot[where]] = row[: len(where)]
            return where, place[slot]
    _, where, which = np.unique(values, return_index=True, return_inverse=True)
    return where, which


def as_text(values: np.ndarray) -> np.ndarray:
    """The same as `values.astype(str)`, written once for each distinct value where there are many rows."""
    if len(values) < FEW or values.dtype.kind not in "iuM":
        return values.astype(str)
    where, which = distinct(values)
    out: np.ndarray = np.array(values[where].astype(str).tolist(), str)[which]  # as narrow as they are
    return out


def _hashed(values: np.ndarray) -> tuple[np.ndarray, bool]:
    """uint64, shape (n,), equal for equal values; and whether it is only equal for these."""
    if values.dtype.kind != "U":
        return values.astype(np.int64).view(np.uint64), values.dtype.kind in "iub"
    letters = np.ascontiguousarray(values).view(np.uint32).reshape(len(values), -1)
    out = letters[:, 0].astype(np.uint64)
    exact = letters.shape[1] * int(LETTER_BITS) <= 64
    for letter in letters.T[1:]:
        if exact:
            out <<= LETTER_BITS
        else:
            out *= FNV
        out ^= letter
    return out, exact


def event_day(spec: ProblemSpec, columns: Columns) -> np.ndarray:
    """Local date of each event, datetime64[D], shape (n,). Days are the clusters of every interval and test."""
    offset = columns[offset_name(spec.time)].astype("timedelta64[m]")
    day: np.ndarray = (columns[spec.time] + offset).astype("datetime64[D]")
    return day


def _offset_min(value: datetime) -> float:
    offset = value.utcoffset()
    return offset.total_seconds() / 60 if offset is not None else 0.0


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], np.float64)


def _travelling(spec: ProblemSpec, frame: "pd.DataFrame", name: str) -> list[Any]:
    if name in spec.datetimes:
        return _iso(frame, name)
    if spec.columns[name].type == "array":
        return [None if is_missing(value) else flat(value).tolist() for value in frame[name]]
    if spec.columns[name].type == "number":
        return frame[name].to_numpy(np.float64, na_value=np.nan).tolist()
    return _texts(frame[name])


def _texts(values: "pd.Series[Any]") -> list[str | None]:
    return [str(v) if there else None for v, there in zip(values.tolist(), values.notna().tolist(), strict=True)]


def _iso(frame: "pd.DataFrame", name: str) -> list[str | None]:
    zones = {o: timezone(timedelta(minutes=int(o))) for o in frame[offset_name(name)].dropna().unique()}
    pairs = zip(frame[name].dt.tz_localize("UTC"), frame[offset_name(name)], strict=True)
    return [None if moment != moment else moment.astimezone(zones[offset]).isoformat() for moment, offset in pairs]
