"""Signals around the stack: a polite request to end unwinds the program, and stopping is never interrupted."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], object]


@contextmanager
def unwind() -> Iterator[None]:
    """SIGTERM and a closed terminal raise SystemExit, Ctrl-C KeyboardInterrupt: `finally` blocks run."""
    with handlers(unwind_now):
        yield


@contextmanager
def ignored() -> Iterator[None]:
    """A second Ctrl-C does not leave processes behind."""
    with handlers(do_nothing):  # not SIG_IGN: a process started meanwhile would inherit that
        yield


@contextmanager
def handlers(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def do_nothing(number: int, frame: FrameType | None) -> None:
    return


def unwind_now(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
