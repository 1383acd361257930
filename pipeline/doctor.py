"""What would stand in the way of starting: ports, memory, disk, the Docker engine. It looks, and changes nothing."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.config import PREFIX, Settings
from pipeline.containers import compose
from pipeline.stack.ports import is_free

GB = 10**9
LAPTOP_MEMORY, CONTAINERS_MEMORY = 3 * GB, 4 * GB  # the demo takes 2.2 GB; the containers may take 6, and took 3.5
LAPTOP_DISK, CONTAINERS_DISK = 2 * GB, 10 * GB
OLDEST_ENGINE = 25  # health checks that start often (start_interval)
LAPTOP_PORTS = ("airflow", "mlflow", "serving")
Run = Callable[..., str | None]


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do about it; without advice all is well."""

    what: str
    found: str
    advice: str = ""


def laptop(given: Settings) -> Iterator[Check]:
    """For `make up` and `make demo`: only ports that were asked for must be free, others are chosen."""
    asked = {name: port for name in LAPTOP_PORTS if (port := getattr(given, f"{name}_port"))}
    yield from (port_check(name, port, f"{PREFIX}{name.upper()}_PORT") for name, port in asked.items())
    yield memory(psutil.virtual_memory().available, LAPTOP_MEMORY)
    yield disk(given.home, LAPTOP_DISK)


def containers(given: Mapping[str, str | None], run: "Run | None" = None) -> Iterator[Check]:
    """For `docker compose up` with these variables. Its ports are looked at only while it does not run itself."""
    run = run or _run
    engine = engine_check(run)
    yield engine
    if engine.advice:
        return
    yield compose_check(run)
    if not run("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={compose.project(given)}"):
        yield from (port_check(port.service, port.number, port.variable) for port in compose.ports(given))
        yield memory(psutil.virtual_memory().available, CONTAINERS_MEMORY)
    root = Path(run("docker", "info", "--format", "{{.DockerRootDir}}") or "/")
    yield disk(root if root.exists() else Path("/"), CONTAINERS_DISK)


def port_check(name: str, port: int, variable: str) -> Check:
    what = f"port {port} of {name}"
    if is_free(port):
        return Check(what, "is free")
    return Check(what, "is taken", f"stop {listener(port)}, or choose another port with {variable}")


def listener(port: int) -> str:
    """Who listens there, as far as this user may see."""
    try:
        found = [c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        return f"{psutil.Process(found[0]).name()} (process {found[0]})" if found else "what listens there"
    except (psutil.Error, OSError):
        return "what listens there"


def memory(available: int, needed: int) -> Check:
    found = f"{available / GB:.1f} GB are free"
    if available >= needed:
        return Check("memory", found)
    return Check("memory", found, f"{needed / GB:.0f} GB are needed: close something, or give Docker Desktop more")


def disk(folder: Path, needed: int) -> Check:
    there = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / GB:.1f} GB are free in {there}"
    if free >= needed:
        return Check("disk", found)
    return Check("disk", found, f"{needed / GB:.0f} GB are needed; `docker system df` shows what Docker holds")


def engine_check(run: Run) -> Check:
    version = run("docker", "version", "--format", "{{.Server.Version}}")
    if not version:
        advice = "install and start Docker Engine or Docker Desktop; without it use `make up`"
        return Check("Docker engine", "none answers", advice)
    if int(version.partition(".")[0]) < OLDEST_ENGINE:
        return Check("Docker engine", version, f"{OLDEST_ENGINE} or newer is needed")
    return Check("Docker engine", version)


def compose_check(run: Run) -> Check:
    version = run("docker", "compose", "version", "--short")
    if version and version.lstrip("v") >= "2":
        return Check("Docker Compose", version)
    return Check("Docker Compose", version or "is missing", "install the Compose plug-in, version 2")


def _run(*command: str) -> str | None:
    """What it printed; None where it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=15)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
