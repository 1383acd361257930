"""The compose file, run as a project of its own: own name, own ports, own volumes, none of the developer's settings."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from core.config import ROOT
from pipeline.airflow_api import AirflowApi
from pipeline.stack.ports import any_free

NAME, REVISION = "closed-loop-test", "the-revision-under-test"
PORTS = ("LOOP_AIRFLOW_PORT", "LOOP_MLFLOW_PORT", "LOOP_SERVING_PORT", "PROMETHEUS_PORT")
KILL = """
import os, signal
running = [pid for pid in os.listdir("/proc") if pid.isdigit()]
parents = {int(pid): open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1] for pid in running}
for pid in [pid for pid, parent in parents.items() if parent == "1"]:
    os.kill(pid, signal.SIGKILL)
"""


class Project:
    """Starts and breaks the services of one project."""

    def __init__(self, first_day: str) -> None:
        self.ports = {name: str(any_free()) for name in PORTS}
        ours = ("LOOP_", "AIRFLOW", "MLFLOW_", "COMPOSE_", "BIND")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        own = {"LOOP_FIRST_DAY": first_day, "LOOP_REVISION": REVISION, "COMPOSE_PROJECT_NAME": NAME}
        self._env = kept | self.ports | own

    def compose(self, *words: str, timeout_s: float = 300, check: bool = True) -> str:
        """Run `docker compose`; return what it printed on standard output."""
        done = self._run("docker", "compose", "--env-file", os.devnull, *words, timeout_s=timeout_s)
        assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a one-off container of a service and return at once; its output comes through the pipe.

        Alone: without `--no-deps` Compose would first repeat the steps, such as Airflow's migration.
        """
        command = ["docker", "compose", "--env-file", os.devnull, "run", "--rm", "-T", "--no-deps", *words]
        out = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=self._env, stdout=out, stderr=subprocess.STDOUT, text=True)

    def up(self) -> float:
        """Seconds until everything is healthy."""
        started = time.monotonic()
        self.compose("up", "--detach", "--wait", "--wait-timeout", "300", timeout_s=400)
        return time.monotonic() - started

    def watch(self) -> None:
        """Start Prometheus. There is no Grafana: its image cannot be had everywhere."""
        self.compose("--profile", "observability", "up", "--detach", "--wait", "prometheus")

    def prometheus(self, question: str, **parameters: Any) -> dict[str, Any]:
        """What it answers to a question of its API, such as `query_range`."""
        url = f"{self.url('PROMETHEUS_PORT')}/api/v1/{question}"
        answer = httpx.get(url, params=parameters, timeout=30, trust_env=False)
        assert answer.is_success, answer.text
        return dict(answer.json()["data"])

    def build(self) -> float:
        """Seconds for all images: minutes the first time, seconds when only our code has changed."""
        started = time.monotonic()
        self.compose("--profile", "demo", "build", timeout_s=1500)
        return time.monotonic() - started

    def down(self, *words: str) -> None:
        self.compose("--profile", "*", "down", "--remove-orphans", "--timeout", "20", *words)

    def secret(self, name: str) -> str:
        return self.compose("run", "--rm", "-T", "setup", "secret", name).strip()

    def add_key(self, name: str, *scopes: str) -> str:
        words = [word for scope in scopes for word in ("--scope", scope)]
        return self.compose("run", "--rm", "-T", "setup", "loop", "keys", "add", name, *words).split()[0]

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def airflow(self) -> AirflowApi:
        return AirflowApi(self.url("LOOP_AIRFLOW_PORT"), "admin", self.secret("AIRFLOW_ADMIN_PASSWORD"))

    def release(self, key: str) -> dict[str, Any]:
        """What the serving container answers with; empty while it does not answer."""
        try:
            answer = httpx.get(
                f"{self.url('LOOP_SERVING_PORT')}/release",
                headers={"authorization": f"Bearer {key}"},
                timeout=5,
                trust_env=False,
            )
        except httpx.TransportError:
            return {}
        return dict(answer.json()) if answer.is_success else {}

    def predicts(self, key: str, row: dict[str, Any]) -> bool:
        url, headers = f"{self.url('LOOP_SERVING_PORT')}/predict", {"authorization": f"Bearer {key}"}
        return httpx.post(url, json=row, headers=headers, trust_env=False).is_success

    def kill(self, service: str) -> None:
        """kill -9 of the service's own process, as a crash: Docker starts the container again."""
        self.compose("exec", "-T", service, "python", "-c", KILL, check=False)  # exec dies with the container

    def sql(self, question: str) -> list[str]:
        words = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-d", "loop", "-tA", "-c", question)
        return self.compose(*words).split()

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of each service's container."""
        ids = self._run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={NAME}").stdout.split()
        known = json.loads(self._run("docker", "inspect", *ids).stdout) if ids else []
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in known}

    def volumes(self) -> list[str]:
        listed = self._run("docker", "volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={NAME}")
        return listed.stdout.split()

    def memory(self) -> dict[str, float]:
        """MB by service, as the engine counts it: page cache that can be given back included."""
        listed = self.compose("stats", "--no-stream", "--format", "json")
        rows = [json.loads(line) for line in listed.splitlines()]
        return {row["Name"].removeprefix(f"{NAME}-").removesuffix("-1"): megabytes(row["MemUsage"]) for row in rows}

    def _run(self, *command: str, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=timeout_s, check=False
        )


@contextmanager
def running(first_day: str) -> Iterator[Project]:
    """The project, started; at the end nothing of it is left. KEEP_COMPOSE=1 keeps it, to look into."""
    project = Project(first_day)
    project.down("--volumes")
    try:
        yield project
    finally:
        if not os.environ.get("KEEP_COMPOSE"):
            project.down("--volumes")


def megabytes(usage: str) -> float:
    """From what the engine writes, such as 70.3MiB / 384MiB."""
    number, unit = re.match(r"([0-9.]+)([A-Za-z]+)", usage).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit] / 1e6
