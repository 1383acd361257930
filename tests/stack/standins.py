"""Small processes that stand in for the real servers, and the plans that start them."""

import sys
from collections.abc import Callable, Mapping

from core.config import Settings
from pipeline.stack.health import Probe
from pipeline.stack.processes import Service
from pipeline.stack.services import Ports, shared_environment
from pipeline.stack.stack import Plan, Stack

MakeStack = Callable[[Plan], Stack]

SERVER = """
import http.server, signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], process_group=0)  # as Airflow does with its tasks
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
BROKEN = "print('the disk is on fire'); raise SystemExit(3)"


def server(name: str, port: int, code: str = SERVER, after: tuple[str, ...] = ()) -> Service:
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-c", code, str(port))
    return Service(name, command, Probe(url=url), after=after, address=url, timeout_s=20)


def step(name: str, code: str) -> Service:
    return Service(name, (sys.executable, "-c", code), None, timeout_s=20)


def two_servers(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    """One server at once, one after a step that has to end first."""
    return [
        server("mlflow", ports.mlflow),
        step("migrate", "print('done')"),
        server("airflow", ports.airflow, after=("migrate",)),
    ]


def one_stubborn(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    return [server("mlflow", ports.mlflow, STUBBORN)]


def one_breaks(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    return [server("mlflow", ports.mlflow), step("migrate", BROKEN)]


def never_healthy(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    silent = (sys.executable, "-c", "import time; print('waiting for Godot', flush=True); time.sleep(60)")
    return [Service("mlflow", silent, Probe(url=f"http://127.0.0.1:{ports.mlflow}"), timeout_s=1)]


def tells_its_environment(settings: Settings, ports: Ports, secrets: Mapping[str, str]) -> list[Service]:
    code = "import os; print(os.environ['LOOP_HOME'], os.environ['LOOP_MLFLOW_URL'], os.environ['DO_NOT_TRACK'])"
    command = (sys.executable, "-c", code)
    return [Service("teller", command, None, shared_environment(settings, ports.urls(), secrets))]
