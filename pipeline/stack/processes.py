"""Starting one process in a session of its own, finding it again later, and stopping all that it started.

A process is known by pid *and* start time, so that a pid which the system gave to somebody else is left alone.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from core.config import ROOT, Frozen
from core.errors import StackError
from pipeline.stack.health import Probe

GRACE_S = 10.0
CLOCK_SLACK_S = 2.0
TAIL_LINES = 15


@dataclass(frozen=True)
class Service:
    """What to start. Without a probe it is a step: it has to end, with exit code 0."""

    name: str
    command: tuple[str, ...]
    probe: Probe | None
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    address: str = ""
    timeout_s: float = 180.0


class Record(Frozen):
    """What was started: enough to find it again from another shell."""

    name: str
    pid: int
    created: float
    address: str
    probe: Probe | None
    log: Path


def spawn(service: Service, log: Path) -> "tuple[subprocess.Popen[bytes], Record]":
    """Start a service in its own session, its output going to `log`; the log of the time before becomes LOG.1."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            service.command,
            cwd=ROOT,
            env={**os.environ, **service.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created = psutil.Process(process.pid).create_time()
    return process, Record(
        name=service.name, pid=process.pid, created=created, address=service.address, probe=service.probe, log=log
    )


def is_alive(record: Record) -> bool:
    """Whether the process that was started still runs (not merely its pid)."""
    try:
        process = psutil.Process(record.pid)
        return same(process, record) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def same(process: psutil.Process, record: Record) -> bool:
    return abs(process.create_time() - record.created) < CLOCK_SLACK_S


def members(record: Record) -> list[psutil.Process]:
    """The process and everything it started that is alive: all of its session, orphans and other groups included.

    While members of a session live, the system gives its number to nobody else; so a process that has the number
    and another start time proves that nothing of ours is left.
    """
    try:
        if not same(psutil.Process(record.pid), record):
            return []
    except psutil.NoSuchProcess:
        if psutil.boot_time() > record.created + CLOCK_SLACK_S:
            return []
    return list(in_session(record.pid))


def in_session(session: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue


def stop_all(records: Iterable[Record], grace_s: float) -> None:
    """SIGTERM to every group, SIGKILL to what is left after the grace period. Raises StackError if any survives."""
    known = list(records)
    for record in known:
        for process in members(record):
            send(process, signal.SIGTERM)
    left = wait_gone(known, grace_s)
    for process in left:
        send(process, signal.SIGKILL)
    survivors = wait_gone(known, GRACE_S) if left else []
    if survivors:
        raise StackError(f"these processes cannot be killed: {', '.join(str(process) for process in survivors)}")


def wait_gone(records: list[Record], timeout_s: float) -> list[psutil.Process]:
    """Who is still there at the end of the time; empty as soon as all are gone."""
    end = time.monotonic() + timeout_s
    while True:
        left = [process for record in records for process in members(record)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


def send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented; long logs are read from their end only."""
    if not log.exists():
        return "    (no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        text = file.read().decode(errors="replace")
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty)"
