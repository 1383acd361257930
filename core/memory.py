"""Whether the kernel killed a process of this container for want of memory, in words (Linux, control groups 2)."""

import re
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
GIB = 2**30
KILLED = re.compile(r"exited with (-9|137)\b")  # by SIGKILL, as the process or as its shell reports it
ADVICE = (
    "Give it more (on Kubernetes `resources: {CANDIDATE: {memory: 4Gi}}` in problem.yaml; in compose mem_limit of "
    "airflow-scheduler), or make it need less: a smaller split.window_days, a smaller model."
)


def kills(cgroup: Path = CGROUP) -> int:
    """How many processes of this container the kernel has killed so far; 0 where it does not say."""
    try:
        events = dict(line.split() for line in (cgroup / "memory.events").read_text().splitlines())
    except OSError:
        return 0
    return int(events.get("oom_kill", 0))


def limit(cgroup: Path = CGROUP) -> str:
    try:
        content = (cgroup / "memory.max").read_text().strip()
    except OSError:
        return "the machine's memory"
    return f"{int(content) / GIB:.1f} GiB" if content.isdigit() else "the machine's memory"


def words(what: str, counted: int, allowed: str) -> str:
    """What happened to `what`, which a SIGKILL ended, and what to change. `counted`: kills that the kernel admits."""
    sure = "ran out of memory" if counted else "was killed (SIGKILL), as happens when memory runs out"
    return f"{what} {sure}: it may use {allowed}. {ADVICE}"
