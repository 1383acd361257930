"""Chunks of a table to the columns of the problem, checked as the server checks a request, by the column.

A row that the server would refuse is set aside with its reasons; the others are columns as from core.columns. Python
looks at single values only in a chunk in which something is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core import tables
from core.columns import Columns, offset_name
from core.errors import DataError
from core.schema import LARGEST, LONGEST, MISSING_CATEGORY, Column, ProblemSpec, Value
from pipeline.score import moments
from pipeline.score.source import Chunk

CONTROL = 32  # letters before it are control characters
SHOWN = 40  # letters of a wrong value that a reason shows
Wrong = tuple[np.ndarray, Callable[[int], str]]  # which rows, shape (n,), and what is wrong with one of them


@dataclass(frozen=True)
class Dialect:
    """How the source writes its values, where a problem's data.py says so (`loop init` writes it there)."""

    csv: Mapping[str, Any] = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """Columns of the good rows, shape (n,) or (n, size); the ids of all, null where there is none; and of the bad rows
    the reasons, by their number in the chunk."""

    columns: Columns
    ids: pa.Array
    good: np.ndarray
    reasons: dict[int, str]


class Decoder:
    """Reads the chunks of one table."""

    def __init__(self, spec: ProblemSpec, names: Sequence[str], dialect: Dialect, now: np.datetime64) -> None:
        """`now`: the moment of rows without a time, where the problem's time is optional. Raises DataError for a table
        without a column that every row needs. A table without ids has its rows' numbers."""
        self._spec, self._forms, self._now = spec, dialect.forms, now
        self.source = {name: found for name, c in spec.columns.items() if (found := _found(name, c, names)) is not None}
        self._values = {name: value for name, value in spec.lookup_values.items() if name in names}
        self._offsets = {name: offset_name(name) for name in spec.datetimes if offset_name(name) in names}
        needed = {name for name, column in spec.columns.items() if not column.optional and name != spec.id}
        if absent := sorted(needed - set(self.source)):
            raise DataError(f"the table has no column {', '.join(absent)}; it has {', '.join(names)}")

    @property
    def names(self) -> list[str]:
        """The table's columns that are read."""
        return list(dict.fromkeys([*self.source.values(), *self._offsets.values(), *self._values]))

    @property
    def texts(self) -> list[str]:
        """Those of them that repeat their values."""
        return [found for name, found in self.source.items() if self._spec.columns[name].type == "category"]

    def decode(self, chunk: Chunk) -> Decoded:
        columns, wrong, n = Columns(), list[tuple[str, Wrong]](), chunk.table.num_rows
        for name, column in self._spec.columns.items():
            made, found = self._column(name, column, chunk)
            columns |= made
            wrong += [(name, item) for item in found]
        for name, value in self._values.items():
            columns[name], found = _number(value, _plain(chunk.table, name), optional=True)
            wrong += [(name, item) for item in found]
        good, reasons = _judged(wrong, n)
        if reasons:
            columns = {name: values[good] for name, values in columns.items()}
        return Decoded(columns, self._ids(chunk), good, reasons)

    def _column(self, name: str, column: Column, chunk: Chunk) -> tuple[Columns, list[Wrong]]:
        if name == self._spec.id and name not in self.source:
            return {name: np.array(_numbers(chunk), str)}, []
        array = _plain(chunk.table, self.source[name]) if name in self.source else pa.nulls(chunk.table.num_rows)
        if column.type == "datetime":
            return self._moment(name, column, array, chunk.table)
        if column.type == "number":
            values, wrong = _number(column, array, column.optional)
        elif column.type == "array":
            values, wrong = _array(column, array)
        else:
            values, wrong = _text(column, array)
        return {name: values}, wrong

    def _moment(self, name: str, column: Column, array: pa.Array, table: pa.Table) -> tuple[Columns, list[Wrong]]:
        offsets = _plain(table, self._offsets[name]) if name in self._offsets else None
        text = _as_text(array) if pa.types.is_dictionary(array.type) else array
        at, minutes = moments.read(text, offsets, self._forms.get(name))
        wrong = list[Wrong]()
        if (lost := np.isnat(at)).any():
            null = _nulls(array)
            expected = f"expected a date and time with a UTC offset, such as {column.example}"
            wrong = _missing(null, column.optional) + _if_any(lost & ~null, lambda i: f"{expected}{_got(array, i)}")
            if name == self._spec.time:
                at, minutes = np.where(null, self._now, at), np.where(null, 0.0, minutes)
        return {name: at, offset_name(name): minutes}, wrong

    def _ids(self, chunk: Chunk) -> pa.Array:
        if self._spec.id not in self.source:
            return pa.array(_numbers(chunk))
        return _as_text(_plain(chunk.table, self.source[self._spec.id]))


def _found(name: str, column: Column, names: Sequence[str]) -> str | None:
    """The table's column: by the name that the problem gives it, or by its own."""
    return next((candidate for candidate in (name, column.source) if candidate in names), None)


def _numbers(chunk: Chunk) -> list[str]:
    return [f"{chunk.part + 1}-{row + 1}" for row in range(chunk.start, chunk.end)]


def _plain(table: pa.Table, name: str) -> pa.Array:
    """A column as one array; large texts and views as texts."""
    array = table.column(name).combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) and array.num_chunks == 1 else array
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        return array.cast(pa.string())
    return array


def _as_text(array: pa.Array) -> pa.Array:
    """Text; a whole number that a missing neighbour made a float is written as a whole number. Empty is missing."""
    if pa.types.is_dictionary(array.type):
        return array.cast(array.type.value_type)
    if pa.types.is_string(array.type):
        return array
    if pa.types.is_floating(array.type):
        numbers = array.to_numpy(zero_copy_only=False)
        whole = numbers[~np.isnan(numbers)]
        array = pa.array(numbers, from_pandas=True)
        if (whole % 1 == 0).all():
            array = array.cast(pa.int64())
    return array.cast(pa.string())


# texts ----------------------------------------------------------------------------------------------------------------


def _text(column: Column, array: pa.Array) -> tuple[np.ndarray, list[Wrong]]:
    if column.type == "category" or pa.types.is_dictionary(array.type):
        return _repeated(column, array)
    array = _as_text(array)
    lengths, letters = _letters(array.fill_null("") if array.null_count else array)
    longest = int(lengths.max(initial=0))
    if (
        not array.null_count
        and lengths.min(initial=1)
        and longest <= LONGEST
        and letters.min(initial=CONTROL) >= CONTROL
    ):
        if letters.max(initial=0) < 128:
            return _ascii(array, longest), []
        return np.array(array.to_pylist(), str), []
    return _checked(column, array.to_pylist())


def _repeated(column: Column, array: pa.Array) -> tuple[np.ndarray, list[Wrong]]:
    """Each distinct text is looked at once."""
    encoded = array if pa.types.is_dictionary(array.type) else _as_text(array).dictionary_encode()
    words = _as_text(encoded.dictionary).to_pylist()
    if encoded.null_count:
        codes = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        words.append(None)
    else:
        codes = encoded.indices.to_numpy(zero_copy_only=False)
    texts, _ = _checked(column, words)
    trouble = [_trouble(column, word) for word in words]
    flagged = np.array([item is not None for item in trouble])
    wrong = _if_any(flagged[codes], lambda i: str(trouble[codes[i]])) if flagged.any() else []
    return texts[codes], wrong


def _checked(column: Column, values: list[str | None]) -> tuple[np.ndarray, list[Wrong]]:
    trouble = [_trouble(column, value) for value in values]
    texts = [MISSING_CATEGORY if t is not None or v in (None, "") else v for t, v in zip(trouble, values, strict=True)]
    wrong = _if_any(np.array([item is not None for item in trouble], bool), lambda i: str(trouble[i]))
    return np.array(texts, str), wrong


def _trouble(column: Column, value: str | None) -> str | None:
    if not value:
        return None if column.optional else "missing"
    if len(value) > LONGEST:
        return f"longer than {LONGEST} letters"
    return "must not contain control characters" if min(map(ord, value)) < CONTROL else None


def _letters(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of each text, shape (n,), and all bytes."""
    _, offsets, data = array.buffers()
    if not len(array) or data is None:
        return np.zeros(len(array), np.int64), np.zeros(0, np.uint8)
    places = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return np.diff(places), np.frombuffer(data, np.uint8)[places[0] : places[-1]]


def _ascii(array: pa.Array, longest: int) -> np.ndarray:
    """ASCII texts as numpy keeps them: four bytes a letter, zeros at the end."""
    size = max(longest, 1)
    _, letters = _letters(pc.ascii_rpad(array, size, padding="\0"))
    return letters.reshape(len(array), size).astype(np.uint32).view(f"U{size}").ravel()


# numbers --------------------------------------------------------------------------------------------------------------


def _number(about: Column | Value, array: pa.Array, optional: bool) -> tuple[np.ndarray, list[Wrong]]:
    values, unread = _as_numbers(array)
    low = -LARGEST if about.min is None else about.min
    high = LARGEST if about.max is None else about.max
    if unread is None and ((values >= low) & (values <= high)).all():
        return values, []
    absent = np.isnan(values) if unread is None else np.isnan(values) & ~unread
    wrong = _missing(absent, optional)
    if unread is not None:
        wrong += _if_any(unread, lambda i: f"expected a number{_got(array, i)}")
    wrong += _if_any(values < low, lambda i: f"expected at least {low:g}, got {values[i]:g}")
    wrong += _if_any(values > high, lambda i: f"expected at most {high:g}, got {values[i]:g}")
    return values, wrong


def _as_numbers(array: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """float64, NaN for what is missing; and which texts are no number, where there are any."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if not pa.types.is_string(array.type):
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.uint8())
        return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), None
    try:
        return array.cast(pa.float64()).to_numpy(zero_copy_only=False), None
    except pa.ArrowInvalid:
        values = tables.numbers(pd.Series(array.to_pandas())).to_numpy(np.float64)
        return values, np.isnan(values) & ~_nulls(array)


# arrays ---------------------------------------------------------------------------------------------------------------


def _array(column: Column, array: pa.Array) -> tuple[np.ndarray, list[Wrong]]:
    """Lists, nested or flat, of `column.size` numbers each, float32 of shape (n, size)."""
    if not _is_list(array.type):
        raise DataError(f"an array is read from a Parquet column of lists; this one is of {array.type}")
    n, null = len(array), _nulls(array)
    rows = np.full((n, column.size), np.nan, np.float32)
    sizes, numbers = _flattened(array)
    fits = sizes == column.size
    rows[fits] = numbers[np.repeat(fits, sizes)].reshape(-1, column.size)
    low = -LARGEST if column.min is None else column.min
    high = LARGEST if column.max is None else column.max
    inside = ((rows >= low) & (rows <= high)).all(axis=1)
    if inside.all():
        return rows, []
    wrong = _missing(null, optional=False)
    wrong += _if_any(~fits & ~null, lambda i: f"expected {column.size} numbers, got {sizes[i]}")
    return rows, wrong + _if_any(fits & ~inside, lambda i: f"expected numbers from {low:g} to {high:g}")


def _flattened(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """How many numbers each row holds, shape (n,), and all of them."""
    starts = np.arange(len(array) + 1)
    while _is_list(array.type):
        sizes = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        starts = np.concatenate([[0], np.cumsum(sizes)])[starts]
        array = array.flatten()
    return np.diff(starts), array.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)


def _is_list(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


# what is wrong --------------------------------------------------------------------------------------------------------


def _nulls(array: pa.Array) -> np.ndarray:
    found: np.ndarray = array.is_null().to_numpy(zero_copy_only=False)
    return found


def _missing(absent: np.ndarray, optional: bool) -> list[Wrong]:
    return [] if optional else _if_any(absent, lambda _: "missing")


def _if_any(rows: np.ndarray, say: Callable[[int], str]) -> list[Wrong]:
    return [(rows, say)] if rows.any() else []


def _got(array: pa.Array, i: int) -> str:
    text = str(array[i].as_py())
    return f", got {text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'!r}"


def _judged(wrong: Sequence[tuple[str, Wrong]], n: int) -> tuple[np.ndarray, dict[int, str]]:
    """Numbers of the good rows, and of the bad ones the reasons."""
    bad, reasons = np.zeros(n, bool), dict[int, list[str]]()
    for name, (rows, say) in wrong:
        bad |= rows
        for row in np.flatnonzero(rows).tolist():
            reasons.setdefault(row, []).append(f"{name}: {say(row)}")
    return np.flatnonzero(~bad), {row: "; ".join(found) for row, found in sorted(reasons.items())}
