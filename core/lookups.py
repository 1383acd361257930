"""Look-up tables with an availability time, and the as-of join. Training and serving call the same code.

A look-up row says: for this key, from `available_at` on, these values were known. Numpy only: the server has no
pandas. Where the rows are kept is core.online's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.columns import Columns
from core.schema import LookupSpec, ProblemSpec

NEVER = np.datetime64("NaT", "s")
_SEPARATOR = "\x1f"


def joined_key(columns: Mapping[str, np.ndarray], keys: Sequence[str]) -> np.ndarray:
    """One string a row, shape (n,), from one or several key columns."""
    parts = [np.asarray(columns[name]).astype(str) for name in keys]
    out = parts[0]
    for part in parts[1:]:
        out = np.char.add(np.char.add(out, _SEPARATOR), part)
    return out


@dataclass(frozen=True)
class Lookup:
    """One look-up in memory, sorted by (key, available_at)."""

    keys: np.ndarray  # unique keys, sorted, shape (k,)
    rank: np.ndarray  # key index * span + seconds since start, sorted, shape (rows,)
    start: int
    span: int
    available_at: np.ndarray  # datetime64[s], shape (rows,)
    values: Columns  # name -> float32, shape (rows,)
    tolerance: np.timedelta64

    @classmethod
    def build(cls, key: np.ndarray, available_at: np.ndarray, values: Columns, tolerance_h: float) -> "Lookup":
        """`key` as from joined_key, shape (rows,); `available_at` datetime64; values numeric, shape (rows,)."""
        at = np.asarray(available_at, "datetime64[s]")
        keys, code = np.unique(np.asarray(key, str), return_inverse=True)
        seconds = at.astype(np.int64)
        start = int(seconds.min()) if len(seconds) else 0
        span = int(seconds.max()) - start + 1 if len(seconds) else 1
        rank = code.astype(np.int64) * span + (seconds - start)
        order = np.argsort(rank, kind="stable")
        sorted_values = {name: np.asarray(column, np.float32)[order] for name, column in values.items()}
        tolerance = np.timedelta64(round(tolerance_h * 3600), "s")
        return cls(keys, rank[order], start, span, at[order], sorted_values, tolerance)

    def asof(self, key: np.ndarray, at: np.ndarray) -> tuple[Columns, np.ndarray]:
        """The newest row of each key that was available at `at` and is no older than the tolerance.

        Returns the values (NaN where there is none) and the available_at that was used (NaT where there is none),
        each of shape (n,).
        """
        if not len(self.rank):
            empty = np.full(len(key), np.nan, np.float32)
            return dict.fromkeys(self.values, empty), np.full(len(key), NEVER)
        at = np.asarray(at, "datetime64[s]")
        code = np.searchsorted(self.keys, key).clip(max=len(self.keys) - 1)
        offset = (at.astype(np.int64) - self.start).clip(-1, self.span - 1)
        row = np.searchsorted(self.rank, code * self.span + offset, side="right") - 1
        safe = row.clip(min=0)
        found = (self.keys[code] == key) & (offset >= 0) & (row >= 0) & (self.rank[safe] // self.span == code)
        found &= at - self.available_at[safe] <= self.tolerance
        used = np.where(found, self.available_at[safe], NEVER)
        return {name: np.where(found, column[safe], np.float32(np.nan)) for name, column in self.values.items()}, used


def join(
    columns: Columns, at: np.ndarray, specs: Mapping[str, LookupSpec], lookups: Mapping[str, Lookup]
) -> tuple[Columns, dict[str, np.ndarray]]:
    """Add every look-up's values as of `at`; a value that the caller sent itself (not NaN) stands.

    Returns the columns with the values added, and for each look-up the available_at used, shape (n,).
    """
    out, used = dict(columns), {}
    for name, spec in specs.items():
        found, used[name] = lookups[name].asof(joined_key(columns, spec.keys), at)
        for value, column in found.items():
            sent = columns.get(value)
            out[value] = column if sent is None else np.where(np.isnan(sent), column, sent).astype(np.float32)
    return out, used


def model_inputs(spec: ProblemSpec, columns: Columns) -> Columns:
    """The features in the order of problem.yaml: float32 numbers and strings, shape (n,) each; arrays (n, size)."""
    return {
        name: columns[name].astype(object if feature.kind == "category" else np.float32)
        for name, feature in spec.features.items()
    }
