"""Connections have an end: slow callers are cut, too many are sent away, and what is held for them is bounded."""

import json
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from tests.drills.forge import Forged
from tests.drills.ground import Ground, ground

PATIENCE_S = 1.0
BATCH = b"POST /predict/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(1, tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture(scope="module")
def server(found: Ground) -> Forged:
    return found.server(patience_s=PATIENCE_S)


def call(server: Forged) -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", server.port))
    caller.settimeout(15)
    return caller


def rest(caller: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    received = b""
    while more := caller.recv(65536):
        received += more
    return received


def said(reply: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["errors"][0]


@pytest.mark.parametrize(
    "sent", [b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_caller_that_does_not_finish_its_request_is_cut(server: Forged, sent: bytes) -> None:
    with call(server) as caller:
        caller.sendall(sent)
        status, error = said(rest(caller))
    assert (status, error["message"]) == (408, "the request did not arrive in time")


def test_a_byte_now_and_then_buys_no_time(server: Forged) -> None:
    with call(server) as caller:
        started = time.monotonic()
        try:
            for byte in BATCH:
                caller.send(bytes([byte]))
                time.sleep(0.2)
        except OSError:
            pass
        assert time.monotonic() - started < 8 < len(BATCH) * 0.2


def test_a_caller_that_takes_no_answer_is_cut(server: Forged, found: Ground) -> None:
    body = json.dumps({"rows": [found.fresh_row() for _ in range(10_000)]}).encode()
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", server.port))
        caller.settimeout(15)
        caller.sendall(BATCH.replace(b"8000000", b"%d" % len(body)) + body)
        time.sleep(PATIENCE_S + 5)
        received = rest(caller)
    assert received.startswith(b"HTTP/1.1 200")
    assert int(re.findall(rb"content-length: (\d+)", received)[0]) > len(received)
    assert server.metric("serving_held_bytes") == 0


def test_large_bodies_that_stop_halfway_are_bounded_and_small_requests_pass(server: Forged, found: Ground) -> None:
    with ExitStack() as open_:
        callers = [open_.enter_context(call(server)) for _ in range(14)]
        for caller in callers:
            caller.sendall(BATCH + b" " * 6_000_000)  # those that find no room are answered, and read all the same
        assert server.metric("serving_held_bytes") <= 64 * 2**20
        assert server.post("/predict", found.row).status_code == 200
        replies = [rest(caller) for caller in callers]
    assert {said(reply)[0] for reply in replies} == {408, 503}
    assert all(b"retry-after" in reply for reply in replies if b" 503 " in reply[:20])
    assert server.metric("serving_held_bytes") == 0


def test_more_connections_than_are_served_are_told_to_come_back(server: Forged, found: Ground) -> None:
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, 2000), hard))
    with ExitStack() as open_:
        callers = [open_.enter_context(call(server)) for _ in range(1005)]
        last = callers[-1]
        last.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = rest(last)
    assert said(reply)[0] == 503
    assert b"retry-after" in reply
    assert server.post("/predict", found.row).status_code == 200


def test_it_asks_for_the_files_that_its_connections_need(server: Forged) -> None:
    soft, hard = psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE)
    assert soft >= 2100 or soft == hard


def test_a_head_without_end_is_refused(server: Forged) -> None:
    with call(server) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\n")
        reply = b""
        for _ in range(100):
            time.sleep(0.002)
            try:
                caller.sendall(b"X: y\r\n" * 500)
            except OSError:
                break
        reply = rest(caller)
    assert said(reply)[0] == 431


def test_what_is_no_http_is_refused_in_the_form_of_all_errors(server: Forged) -> None:
    with call(server) as caller:
        caller.sendall(b"nonsense\r\n\r\n")
        assert said(rest(caller))[0] == 400


def test_whoever_is_sent_away_is_counted(server: Forged) -> None:
    assert server.metric("serving_shed_total") > 0
