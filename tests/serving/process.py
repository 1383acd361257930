"""Servers for the tests: a real process, or the same application in this one, which starts faster."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn

import problems
from core.config import Settings
from problems import Problem
from serving.app import create_app
from serving.server import Server

ROOT = Path(__file__).resolve().parents[2]


class Asked:
    """A server that can be asked and waited for."""

    client: httpx.Client

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def post(self, path: str, content: Any) -> httpx.Response:
        return self.client.post(path, json=content)

    def wait(self, path: str, patience_s: float = 20, **fields: Any) -> dict[str, Any]:
        """Wait until `path` answers with these fields."""
        until, found = time.monotonic() + patience_s, None
        while time.monotonic() < until:
            try:
                found = self.get(path).json()
                if all(found.get(name) == value for name, value in fields.items()):
                    return dict(found)
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{path} never had {fields}; last: {found}")

    def ready(self) -> dict[str, Any]:
        return self.wait("/readyz", ready=True)

    def wait_reason(self, word: str) -> str:
        """Wait until /readyz gives a reason with this word, ready or not."""
        until = time.monotonic() + 20
        while word not in (reason := str(self.wait("/readyz")["reason"])):
            assert time.monotonic() < until, f"no {word!r} in {reason!r}"
            time.sleep(0.02)
        return reason


class ServerProcess(Asked):
    """`python -m serving` on a free port. Restart it by making another with the same home."""

    def __init__(
        self,
        home: Path,
        mlflow_url: str,
        store_url: str = "",
        port: int = 0,
        problem: str = "flights",
        host: str = "127.0.0.1",
        **more: str,  # settings by name
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        places = {"LOOP_HOME": str(home), "LOOP_MLFLOW_URL": mlflow_url, "LOOP_DATABASE_URL": store_url}
        settings = {"LOOP_PROBLEM": problem, "LOOP_POLL_S": "0.1", **places}
        settings |= {f"LOOP_{name.upper()}": value for name, value in more.items()}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOOP_")}
        self.log = home.parent / f"serving-{self.port}-{time.time_ns()}.log"
        command = [sys.executable, "-m", "serving", "--port", str(self.port), "--host", host]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=clean | settings, stdout=log, stderr=log)
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


class ServerHere(Asked):
    """The same application in a thread of this process."""

    def __init__(
        self,
        home: Path,
        mlflow_url: str,
        problem: Problem | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        **more: Any,  # settings by name
    ) -> None:
        problem, port = problem or problems.load("flights"), port or free_port()
        settings = Settings(home=home, mlflow_url=mlflow_url, poll_s=0.05, problem=problem.spec.name, **more)
        app = create_app(problem, settings)
        self.parts: Server = app.state.server
        self._server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        self.client = httpx.Client(base_url=f"http://{host}:{port}", timeout=30)

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(timeout=30)

    kill = stop


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
