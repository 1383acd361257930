"""Bodies that no client library would send, and random damage to good ones."""

import json
import random
from collections.abc import Iterator
from typing import Any

from core.schema import ProblemSpec

SIZE = 7_500_000  # bytes: nearly all that a body may have
TOKENS = (
    b"NaN", b"-Infinity", b"1e999", b"-1e-999", b"null", b"true", b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":",
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000", b"[[[[[[[[", b"9" * 400, b"0x1F", b"-",
    b".", b"'", b"/**/", b"rows", b"\xe2\x80\xa8", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"1e308",
)  # fmt: skip


def nasty(row: dict[str, Any], spec: ProblemSpec) -> Iterator[tuple[str, bytes]]:
    """Name and body of each; every one is sent as one row, and as one row of a batch."""
    yield from _shapes()
    yield from _encodings(json.dumps(row))
    for name, column in spec.columns.items():
        for about, value in _values(column.type):
            yield f"{name}: {about}", _with(row, name, value)
    yield "an unknown field with a long name", _with(row, "x" * SIZE, b"1")
    yield "the same field a hundred thousand times", b"{" + b'"a": 1, ' * 100_000 + b'"a": 1}'
    yield "a million fields", b"{" + b", ".join(b'"%d": 1' % i for i in range(500_000)) + b"}"


def damaged(row: dict[str, Any], chance: random.Random) -> bytes:
    """A good body with one to five accidents."""
    body = bytearray(json.dumps(row if chance.random() < 0.5 else {"rows": [row, row]}).encode())
    for _ in range(chance.randint(1, 5)):
        at, length = chance.randrange(len(body) + 1), chance.choice((0, 0, 1, 2, 10, 50))
        accidents = (chance.choice(TOKENS), chance.randbytes(3), bytes(body[at : at + length]) * 2)
        body[at : at + length] = chance.choice(accidents)
    return bytes(body)


def _shapes() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "a hundred thousand brackets", b"[" * 100_000
    yield "a hundred thousand brackets, closed", b"[" * 100_000 + b"]" * 100_000
    yield "a hundred thousand objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    yield "millions of empty rows", b'{"rows": [' + b"{}," * (SIZE // 3) + b"{}]}"
    yield "millions of numbers for rows", b'{"rows": [' + b"1," * (SIZE // 2) + b"1]}"
    yield "a number of millions of digits", b"9" * SIZE
    yield "a fraction of millions of digits", b"0." + b"9" * SIZE
    yield "a string of millions of characters", b'"' + b"x" * SIZE + b'"'
    yield "a string of escapes", b'{"a": "' + rb"\u00e9" * (SIZE // 6) + b'"}'
    yield "spaces", b" " * SIZE
    yield "null bytes", b"\0" * SIZE


def _encodings(text: str) -> Iterator[tuple[str, bytes]]:
    for encoding in ("utf-16", "utf-16-be", "utf-32", "utf-7", "cp037"):
        yield encoding, text.encode(encoding)
    yield "a byte order mark", b"\xef\xbb\xbf" + text.encode()
    yield "something behind it", text.encode() + b"x"
    yield "twice", text.encode() * 2
    yield "with a comment", b"/* */" + text.encode()
    yield "in single quotes", text.replace('"', "'").encode()


def _values(kind: str) -> Iterator[tuple[str, bytes]]:
    """JSON texts, most of which are wrong for the column."""
    for text in (
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"1e308",
        b"-0.0",
        b"1e-320",
        b"true",
        b"[]",
        b"{}",
        b"null",
    ):
        yield text.decode(), text
    yield "thousands of digits", b"9" * 5000
    yield "millions of digits", b"9" * SIZE
    yield "brackets", b"[" * 50_000 + b"]" * 50_000
    for text in (
        rb"\ud800",
        rb"\udc00\ud800",
        rb"\u0000",
        rb" \u202e\ufeff",
        b"\xc0\xaf",
        b"\xff",
        b"\0",
        b"\x7f",
    ):
        yield f"text {text!r}", b'"' + text + b'"'
    yield "a long text", b'"' + b"x" * SIZE + b'"'
    if kind == "datetime":
        for time in TIMES:
            yield f"time {time}", json.dumps(time).encode()


TIMES = (
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0000-00-00T00:00:00Z", "2013-04-01T24:00:00Z",
    "2013-04-01T23:59:60Z", "2013-02-30T00:00:00Z", "2013-04-01T00:00:00+99:99", "2013-04-01T00:00:00.999999999999Z",
    "99999-01-01T00:00:00Z", "-2013-04-01T00:00:00Z", "1e400", "2013-04-01T06:45:00\u221204:00",
    "٢٠١٣-04-01T00:00:00Z",
    "1677-09-21T00:12:43Z", "2262-04-11T23:47:17Z", "1970-01-01T00:00:00Z",
)  # fmt: skip


def _with(row: dict[str, Any], name: str, value: bytes) -> bytes:
    others = {key: old for key, old in row.items() if key != name}
    return json.dumps(others).encode()[:-1] + b", " + json.dumps(name).encode() + b": " + value + b"}"
