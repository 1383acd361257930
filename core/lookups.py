"""Look-up tables with an availability time, and the as-of join. Training and serving call the same code.

A look-up row says: for this key, from `available_at` on, these values were known. Numpy only: the server has no
pandas. Where the rows are kept is core.online's business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from core.columns import FEW, Columns, as_text, distinct
from core.schema import LookupSpec, ProblemSpec

NEVER = np.datetime64("NaT", "s")
GRID_CELLS = 4_000_000  # keys x moments of a look-up, 4 bytes each
_SEPARATOR = "\x1f"
Codes = dict[str, tuple[np.ndarray, np.ndarray]]  # of a key column: distinct texts, and which of them a row has


def joined_key(columns: Mapping[str, np.ndarray], keys: Sequence[str]) -> np.ndarray:
    """One string a row, shape (n,), from one or several key columns."""
    parts = [as_text(np.asarray(columns[name])) for name in keys]
    return reduce(_paired, parts)


def _paired(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.char.add(np.char.add(left, _SEPARATOR), right)


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
        return self._found(self._code(key), at)

    def asof_each(self, key: np.ndarray, which: np.ndarray, at: np.ndarray) -> tuple[Columns, np.ndarray]:
        """The same for many rows of few keys: row i has key[which[i]]."""
        return self._found(self._code(key)[which], at)

    def prepare(self) -> None:
        """Make now what the first question would make, so that no request waits for it."""
        _ = self._grid, self._times, self._padded

    def _code(self, key: np.ndarray) -> np.ndarray:
        """Index of each key; -1 of an unknown one."""
        if not len(self.keys):
            return np.full(len(key), -1)
        code = self.keys.searchsorted(key)
        code[self.keys.take(code, mode="clip") != key] = -1
        return code

    def _found(self, code: np.ndarray, at: np.ndarray) -> tuple[Columns, np.ndarray]:
        at = np.asarray(at, "datetime64[s]")
        if not len(self.rank):
            return dict.fromkeys(self.values, np.full(len(code), np.nan, np.float32)), np.full(len(code), NEVER)
        row = self._searched(code, at) if self._grid is None else self._gridded(code, at)
        used = self._times[row]
        fresh = at - used <= self.tolerance  # false where there is none
        if np.count_nonzero(fresh) < len(fresh):
            row[~fresh] = -1
            used = self._times[row]
        return {name: column[row] for name, column in self._padded.items()}, used

    def _searched(self, code: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Row of each key and moment, -1 where there is none: a binary search among all rows."""
        offset = (at.astype(np.int64) - self.start).clip(-1, self.span - 1)
        row = np.searchsorted(self.rank, code * self.span + offset, side="right") - 1
        there = (code >= 0) & (offset >= 0) & (row >= 0) & (self.rank[row.clip(min=0)] // self.span == code)
        return np.where(there, row, -1)

    def _gridded(self, code: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The same: a binary search among the moments at which any row became available, then a table."""
        assert self._grid is not None
        moments, rows = self._grid
        slot = moments.searchsorted(at.view(np.int64), side="right")
        found: np.ndarray = rows[code, slot].astype(np.intp)  # an unknown key is the last row of the table
        return found

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Moments, sorted, shape (m,), and by key and moments passed the newest row, shape (k + 1, m + 1).

        None for a look-up whose table would be too large.
        """
        moments, slot = np.unique(self.available_at.astype(np.int64), return_inverse=True)
        if (len(self.keys) + 1) * (len(moments) + 1) > GRID_CELLS:
            return None
        rows = np.full((len(self.keys) + 1, len(moments) + 1), -1, np.int32)
        np.maximum.at(rows, (self.rank // self.span, slot + 1), np.arange(len(slot), dtype=np.int32))
        return moments, np.maximum.accumulate(rows, axis=1)

    @cached_property
    def _times(self) -> np.ndarray:
        """available_at, and at the end, which is row -1, NaT."""
        return np.append(self.available_at, NEVER)

    @cached_property
    def _padded(self) -> Columns:
        return {name: np.append(column, np.float32(np.nan)) for name, column in self.values.items()}


def join(
    columns: Columns, at: np.ndarray, specs: Mapping[str, LookupSpec], lookups: Mapping[str, Lookup]
) -> tuple[Columns, dict[str, np.ndarray]]:
    """Add every look-up's values as of `at`; a value that the caller sent itself (not NaN) stands.

    Returns the columns with the values added, and for each look-up the available_at used, shape (n,).
    """
    out, used, codes = dict(columns), {}, Codes()
    for name, spec in specs.items():
        if len(at) < FEW:
            found, used[name] = lookups[name].asof(joined_key(columns, spec.keys), at)
        else:
            found, used[name] = lookups[name].asof_each(*_few_keys(columns, spec.keys, codes), at)
        for value, column in found.items():
            sent = columns.get(value)
            out[value] = column if sent is None else np.where(np.isnan(sent), column, sent).astype(np.float32)
    return out, used


def _few_keys(columns: Columns, keys: Sequence[str], codes: Codes) -> tuple[np.ndarray, np.ndarray]:
    """The joined keys that occur, and maybe more, shape (k,), and which of them each row has, shape (n,). `codes` are
    kept."""
    for name in keys:
        if name not in codes:
            where, which = distinct(np.asarray(columns[name]))
            codes[name] = as_text(np.asarray(columns[name])[where]), which.astype(np.intp)
    texts, which = codes[keys[0]]
    for name in keys[1:]:
        further, more = codes[name]
        pair = which * len(further) + more
        if len(texts) * len(further) <= len(pair):  # all pairs: there are fewer than rows to look through
            texts, which = _paired(texts.repeat(len(further)), np.tile(further, len(texts))), pair
        else:
            where, found = distinct(pair)
            texts, which = _paired(texts[which[where]], further[more[where]]), found.astype(np.intp)
    return texts, which


def model_inputs(spec: ProblemSpec, columns: Columns) -> Columns:
    """The features in the order of problem.yaml: float32 numbers and strings, shape (n,) each; arrays (n, size)."""
    return {
        name: columns[name].astype(object if feature.kind == "category" else np.float32, copy=False)
        for name, feature in spec.features.items()
    }
