"""The servers that are compared, each a real process with one worker: started, waited for, looked at, ended."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from core import keys
from tests.serving.process import ROOT, free_port

KEY = keys.new_key()
PATIENCE_S = 240.0


@dataclass(frozen=True)
class Running:
    """A server that answers; `ready_s` from the start of its process to its first good answer."""

    name: str
    port: int
    path: str
    process: psutil.Process
    ready_s: float

    @property
    def rss_mb(self) -> float:
        """Of its largest process: the worker."""
        found = [self.process, *self.process.children(recursive=True)]
        return float(max(one.memory_info().rss for one in found)) / 2**20


@contextlib.contextmanager
def ours(home: Path, registry_url: str) -> Iterator[Running]:
    """`python -m serving` as it is meant to run: validation, prediction log, metrics and API keys on."""
    path = home / "keys.json"
    if not path.exists():
        keys.change(path, lambda none: none.added("bench", KEY, ["predict"]))
    port = free_port()
    settings = {"LOOP_HOME": str(home), "LOOP_MLFLOW_URL": registry_url, "LOOP_PROBLEM": "flights"}
    command = [sys.executable, "-m", "serving", "--port", str(port)]
    with _running("ours", command, port, "/predict", "/readyz", settings) as server:
        yield server


@contextlib.contextmanager
def mlflow(model: Path) -> Iterator[Running]:
    """`mlflow models serve` of the scikit-learn pipeline, in this environment."""
    port = free_port()
    serve = ["models", "serve", "-m", str(model), "-p", str(port), "--env-manager", "local", "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", *serve]
    with _running("mlflow", command, port, "/invocations", "/ping") as server:
        yield server


@contextlib.contextmanager
def empty() -> Iterator[Running]:
    """An empty FastAPI endpoint."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.serving.empty", str(port)]
    with _running("empty", command, port, "/predict", "/openapi.json") as server:
        yield server


@contextlib.contextmanager
def _running(
    name: str, command: list[str], port: int, path: str, ready: str, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOOP_")}
    places = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, env=clean | places | dict(settings or {}), **quiet) as process:  # type: ignore[call-overload]
        try:
            _wait(name, process, f"http://127.0.0.1:{port}{ready}")
            yield Running(name, port, path, psutil.Process(process.pid), time.perf_counter() - started)
        finally:
            _end(process)


def _wait(name: str, process: "subprocess.Popen[bytes]", url: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.01)
    raise SystemExit(f"{name} does not start: {' '.join(map(str, process.args))}")  # type: ignore[arg-type]


def _end(process: "subprocess.Popen[bytes]") -> None:
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    for one in psutil.wait_procs(family, timeout=30)[1]:
        one.kill()
