"""How much memory a set of processes and all their children really take, shared pages counted once (PSS)."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType

import psutil


def measure(pids: Iterable[int]) -> int:
    """Bytes held by these processes and their descendants together; those that are gone count nothing."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found.update({each.pid: each for each in [process, *process.children(recursive=True)]})
        except psutil.NoSuchProcess:
            continue
    return sum(own_bytes(process) for process in found.values())


def own_bytes(process: psutil.Process) -> int:
    """PSS where the system knows it (Linux), else the memory that belongs to this process alone (macOS)."""
    try:
        info = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(info, "pss", info.uss))


class MemorySampler:
    """A thread that looks every `every_s` seconds and remembers the largest sum. Use it with `with`."""

    def __init__(self, pids: Callable[[], Iterable[int]], every_s: float = 1.0) -> None:
        self.peak_bytes = 0
        self._pids = pids
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-sampler", daemon=True)

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, measure(self._pids()))
            if self._ended.wait(self._every_s):
                return
