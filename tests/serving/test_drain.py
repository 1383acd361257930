"""A server that is told to stop answers what it was asked, and tells who keeps a connection to take another one."""

import json
import signal
import threading
import time
from collections import Counter
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

from tests.drills.forge import Forged
from tests.drills.ground import Ground, ground

CALLERS, PAUSE_S, SPAN_S = 16, 0.005, 1.0


def ask_until_told(server: Forged, row: bytes, ended: list[str]) -> None:
    """Ask on one connection, again and again, until an answer says that it is the last."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"content-type": "application/json"}
    while True:
        try:
            connection.request("POST", "/predict", row, headers)
            answer = connection.getresponse()
            answer.read()
        except (RemoteDisconnected, OSError) as error:
            ended.append(f"cut off: {type(error).__name__}")
            return
        if answer.getheader("connection") == "close" or answer.status != 200:
            ended.append(f"told: {answer.status}")
            return
        time.sleep(PAUSE_S)


def stop_under_load(found: Ground) -> Counter[str]:
    """How each caller's last request ended."""
    server, ended = found.server(), list[str]()
    row = json.dumps(found.fresh_row()).encode()
    callers = [threading.Thread(target=ask_until_told, args=(server, row, ended)) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    time.sleep(SPAN_S)
    assert not ended
    server.client.close()
    server.process.terminate()
    for caller in callers:
        caller.join(timeout=20)
    server.process.join(20)
    assert server.process.exitcode == -signal.SIGTERM  # uvicorn passes it on when it is done
    return Counter(ended)


def test_who_keeps_a_connection_loses_no_request(tmp_path: Path) -> None:
    with ground(1, tmp_path) as found:
        assert stop_under_load(found) == {"told: 200": CALLERS}


def test_who_asks_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with ground(1, tmp_path) as found:
        server = found.server()
        idle = HTTPConnection("127.0.0.1", server.port)
        idle.request("GET", "/healthz")
        assert idle.getresponse().read()
        started = time.monotonic()
        server.process.terminate()
        server.process.join(20)
        assert server.process.exitcode == -signal.SIGTERM
        assert time.monotonic() - started < 10
