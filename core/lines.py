"""JSON lines to the values of a table's rows. What is JSON inside a row is not read: it stays the text that it is.

For SQLite, whose own functions for JSON take three times as long. Writes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import JSON, BigInteger, Date, Float, Integer, Table

KINDS: dict[Any, Any] = {JSON: msgspec.Raw, Date: date, Float: float, BigInteger: int, Integer: int}
NULL = msgspec.Raw(b"null")


def values(table: Table, lines: Sequence[bytes]) -> Iterator[list[Any]]:
    """The values of each line's columns, in the table's order, as SQLite keeps them. Raises ValueError.

    What may be null may also be absent, as in lines that an older version wrote.
    """
    read, columns, unlike = _reader(table)
    for line in lines:
        try:
            row = list(columns(read(line)))
        except msgspec.MsgspecError as error:
            raise ValueError(f"a line is no row of {table.name}: {error}") from None
        for at, kept in unlike:
            row[at] = kept(row[at])
        yield row


@lru_cache
def _reader(
    table: Table,
) -> tuple[Callable[[bytes], Any], Callable[[Any], Any], list[tuple[int, Callable[[Any], Any]]]]:
    """From a line to an object, from that to its values, and where which of them is kept as another."""
    names, kinds = [str(column.name) for column in table.c], [_kind(column) for column in table.c]
    fields = [_field(*about) for about in zip(names, kinds, table.c, strict=True)]
    others: dict[Any, Callable[[Any], Any]] = {msgspec.Raw: _text, date: date.isoformat}
    unlike = [(at, others[kind]) for at, kind in enumerate(kinds) if kind in others]
    line = msgspec.defstruct("Line", fields, kw_only=True)
    return msgspec.json.Decoder(line).decode, attrgetter(*names), unlike


def _kind(column: Any) -> Any:
    return next((kind for of, kind in KINDS.items() if isinstance(column.type, of)), str)


def _field(name: str, kind: Any, column: Any) -> Any:
    if not column.nullable:
        return name, kind
    return (name, kind, NULL) if kind is msgspec.Raw else (name, kind | None, None)


def _text(raw: msgspec.Raw) -> str | None:
    return None if raw == NULL else bytes(raw).decode()
