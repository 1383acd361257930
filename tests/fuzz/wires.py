"""Requests that no client library would send, written to a socket as they are."""

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.fuzz.judge import Judge

GOOD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)
AT_ONCE = 8
PATIENCE_S = 1.0  # for an answer that may never come


def send_all(judge: Judge, row: dict[str, Any], patience_s: float = PATIENCE_S) -> None:
    """Some at a time, each on a connection of its own; after each the server must answer others."""

    def send(about: str, content: bytes) -> None:
        _check(judge, about, _exchange(judge.port, content, patience_s))
        judge.is_alive(about)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(send, *request) for request in requests(json.dumps(row).encode())]:
            done.result()


def requests(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield from _lines()
    yield from _heads(body)
    yield from _lengths(body)
    yield from _chunks(body)
    yield "200 requests at once", _post(body) * 199 + _post(body, b"Connection: close")
    yield "200 bad requests at once", _post(b"{") * 199 + _post(b"{", b"Connection: close")
    yield "a good one and garbage", _post(body) + b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield "a good one without its end", _post(body)[:-1]


def _post(body: bytes, *fields: bytes, path: bytes = b"/predict", version: bytes = b"1.1") -> bytes:
    head = [b"POST " + path + b" HTTP/" + version, b"Host: localhost", *fields]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", b""]) + body


def _raw(*fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /predict HTTP/1.1", b"Host: localhost", *fields, b"", b""]) + body


def _lines() -> Iterator[tuple[str, bytes]]:
    """Request lines."""
    paths = (
        b"*", b"//", b"/../../etc/passwd", b"/%00", b"/%ff%fe", b"/%", b"/\xc3\xa9", b"/predict%2Fbatch", b"/predict?",
        b"/" + b"x" * 60_000, b"/predict?" + b"x=1&" * 15_000, b"http://localhost/healthz", b"http://[::1",
        b"?", b"/\x01",
    )  # fmt: skip
    for path in paths:
        yield f"GET {path[:40]!r}", b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for method in (
        b"HEAD",
        b"OPTIONS",
        b"TRACE",
        b"PUT",
        b"DELETE",
        b"PATCH",
        b"CONNECT",
        b"get",
        b"X" * 10_000,
        b"\0",
    ):
        yield f"method {method[:10]!r}", method + b" /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for version in (b"0.9", b"1.2", b"2.0", b"9.9", b"1", b"x"):
        yield f"HTTP/{version.decode()}", b"GET /healthz HTTP/" + version + b"\r\nHost: localhost\r\n\r\n"
    yield "HTTP/0.9", b"GET /\r\n"
    yield "HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    yield "TLS", bytes.fromhex("16030100a5010000a10303") + bytes(160)
    yield "line feeds only", GOOD.replace(b"\r\n", b"\n")
    yield "empty lines before it", b"\r\n" * 1000 + GOOD
    yield "null bytes", b"\0" * 10_000
    yield "half a line", b"POST /pre"


def _heads(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Header fields."""
    yield "a header of a megabyte", _raw(b"X: " + b"x" * 2**20)
    yield "a hundred thousand headers", _raw(*[b"X: y"] * 100_000)
    for field in (
        b"no colon",
        b": no name",
        b"X : y",
        b"X: a\0b",
        b"X: \xff\xfe",
        b" folded: y",
        b"X: y\r\n\tfolded",
        b"\xe9: y",
    ):
        yield f"header {field!r}", _raw(field, b"Content-Length: 0", b"Connection: close")
    for value in (
        b"text/plain",
        b"image/png",
        b"multipart/form-data; boundary=x",
        b"\xff",
        b"application/json; charset=utf-16",
    ):
        yield f"content type {value!r}", _post(body, b"Content-Type: " + value, b"Connection: close")
    yield "two hosts", _post(body, b"Host: localhost", b"Connection: close")
    yield "no host", b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    yield "gzip", _post(b"\x1f\x8b" + bytes(50), b"Content-Encoding: gzip", b"Connection: close")
    yield "expects 100", _post(body, b"Expect: 100-continue", b"Connection: close")
    yield "expects the unexpected", _post(body, b"Expect: a miracle", b"Connection: close")
    for protocol in (b"websocket", b"h2c"):
        yield f"upgrade to {protocol.decode()}", _post(body, b"Connection: Upgrade", b"Upgrade: " + protocol)
    yield "HTTP/1.0 with a body", _post(body, version=b"1.0")


def _lengths(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Content-Length, and what it does not say."""
    for value in (
        b"-1",
        b"+2",
        b"0x10",
        b"1e3",
        b"",
        b" ",
        b"2, 2",
        b"9" * 30,
        b"18446744073709551616",
        b"9000000",
        b"2\0",
    ):
        yield f"length {value[:20]!r}", _raw(b"Content-Length: " + value, body=body)
    yield "no length", _raw(body=body)
    yield "two lengths", _raw(b"Content-Length: 2", b"Content-Length: 3", body=b"{}")
    yield "a length that is too short", _raw(b"Content-Length: 10", body=body)
    yield "a length that is too long", _raw(b"Content-Length: 100000", body=body)
    yield (
        "a body of a GET",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
    )


def _chunks(body: bytes) -> Iterator[tuple[str, bytes]]:
    chunked = b"Transfer-Encoding: chunked"
    bytewise = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    yield "chunks of a byte", _raw(chunked, body=bytewise + b"0\r\n\r\n")
    yield "chunks without an end", _raw(chunked, body=bytewise)
    for size in (b"FFFFFFFFFFFFFFFF", b"F" * 100, b"-1", b"0x5", b"zz", b"", b"80000000"):
        yield f"a chunk of {size[:20]!r}", _raw(chunked, body=size + b"\r\n" + body)
    yield "a chunk with a long extension", _raw(chunked, body=b"1;" + b"x" * 500_000 + b"\r\n{\r\n0\r\n\r\n")
    yield "ten thousand trailers", _raw(chunked, body=b"0\r\n" + b"X: y\r\n" * 10_000 + b"\r\n")
    yield "chunks and a length", _raw(chunked, b"Content-Length: 4", body=b"0\r\n\r\n")
    for coding in (b"gzip", b"chunked, chunked", b"chunked, gzip", b"xchunked", b"\x0bchunked"):
        yield f"coding {coding!r}", _raw(b"Transfer-Encoding: " + coding, body=b"0\r\n\r\n")


def _exchange(port: int, content: bytes, patience_s: float) -> bytes:
    """What comes back until the server hangs up or is silent for a moment."""
    received, until = b"", time.monotonic() + 20
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.settimeout(patience_s)
        try:
            caller.sendall(content)
            while (more := caller.recv(65536)) and time.monotonic() < until:
                received += more
        except OSError:  # silent, or hung up in the middle: both are fair
            pass
    return received


def _check(judge: Judge, about: str, received: bytes) -> None:
    """Every answer in it; where there is none, the connection was closed or the server waits for more."""
    judge.asked += 1
    for status in map(int, STATUS.findall(received)):
        if status >= 500 and not (status == 503 and b"retry-after" in received.lower()):
            judge.wrong.append(f"{about}: {received[:300]!r}")
