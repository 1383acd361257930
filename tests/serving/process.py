"""A real server process, and plain HTTP to it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]


class ServerProcess:
    """`python -m serving` on a free port. Restart it by making another with the same home."""

    def __init__(self, home: Path, mlflow_url: str, store_url: str = "", port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        places = {"LOOP_HOME": str(home), "LOOP_MLFLOW_URL": mlflow_url, "LOOP_DATABASE_URL": store_url}
        settings = {"LOOP_PROBLEM": "flights", "LOOP_POLL_S": "0.1", **places}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOOP_")}
        self.log = home.parent / f"serving-{self.port}-{time.time_ns()}.log"
        command = [sys.executable, "-m", "serving", "--port", str(self.port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=clean | settings, stdout=log, stderr=log)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10)

    def post(self, path: str, content: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=content, timeout=30)

    def wait(self, path: str, patience_s: float = 20, **fields: Any) -> dict[str, Any]:
        """Wait until `path` answers with these fields."""
        until, found = time.monotonic() + patience_s, None
        while time.monotonic() < until:
            try:
                found = self.get(path).json()
                if all(found.get(name) == value for name, value in fields.items()):
                    return dict(found)
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"{path} never had {fields}; last: {found}; log: {self.log.read_text()[-2000:]}")

    def ready(self) -> dict[str, Any]:
        return self.wait("/readyz", ready=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
