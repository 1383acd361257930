"""Real server processes that start in a moment: forked from a process that has imported everything and opened nothing.

Each is `python -m serving` as it stands, with a process id of its own to be killed by.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.serving.process import Asked, free_port

PRELOADED = ["serving.__main__", "tests.drills.preload", "tests.drills.forge"]


def forge() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class Forged(Asked):
    """One server. Restart it by making another with the same settings and port.

    `patience_s` shortens how long it bears slow callers: a drill has no minute to wait.
    """

    def __init__(
        self,
        context: ForkServerContext,
        settings: Mapping[str, str],
        log: Path,
        port: int = 0,
        patience_s: float | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = context.Process(
            target=_serve, args=(dict(settings), self.port, str(log), patience_s), daemon=True
        )
        self.process.start()
        self.client = httpx.Client(base_url=self.url, timeout=30)

    @property
    def rss_mb(self) -> float:
        return float(psutil.Process(self._pid).memory_info().rss / 1e6)

    def limit_file_size(self, limit: int) -> None:
        """No file grows over this many bytes: what a full disk does, for one process. Negative: no limit."""
        psutil.Process(self._pid).rlimit(psutil.RLIMIT_FSIZE, (limit, -1))

    def kill(self) -> None:
        """SIGKILL: nothing of it gets to say good-bye."""
        self.process.kill()
        self._gone()

    def stop(self) -> None:
        self.process.terminate()
        self._gone()

    def metric(self, name: str) -> float:
        """The sum over its labels; 0 when there is none."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.split()[-1]) for line in lines)

    @property
    def _pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def _gone(self) -> None:
        self.process.join(60)
        assert self.process.exitcode is not None, "the server does not end"
        self.client.close()


def _serve(settings: dict[str, str], port: int, log: str, patience_s: float | None) -> None:
    from serving.__main__ import main
    from serving.connections import Connection

    if patience_s is not None:
        Connection.read_s = Connection.take_s = patience_s
    for name in [name for name in os.environ if name.startswith("LOOP_")]:
        del os.environ[name]
    os.environ.update(settings)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the drill, which ends its servers
    sys.argv = ["serving", "--port", str(port)]
    main()


def wait_until(what: Any, patience_s: float, about: str) -> None:
    """Until `what()` is true; AssertionError when it never is."""
    until = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until, f"after {patience_s:g} s still not: {about}"
        time.sleep(0.05)
