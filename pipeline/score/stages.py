"""Stages that work at the same time: each in a thread of its own, a few items ahead of the one that asks."""

import os
import queue
import sys
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
AHEAD = 2  # finished items that wait: more only takes memory
PATIENCE_S = 0.1  # how often a stage that waits looks whether anybody still wants its items
LOWER = 10  # in nice's steps: how much less a stage matters that gives way
_END = object()


def ahead(items: Iterable[Item], gives_way: bool = False) -> Generator[Item, None, None]:
    """The same items in the same order, made in a thread. An error comes out where its item would have.

    One that gives way leaves the cores to the others: its items are cheaper than what the others make of them.
    """
    ready: queue.Queue[Any] = queue.Queue(AHEAD)
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(items, ready, unwanted, gives_way), daemon=True)
    thread.start()
    try:
        while (found := ready.get()) is not _END:
            if isinstance(found, _Failed):
                raise found.error
            yield found
    finally:
        unwanted.set()
        thread.join()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def _make(items: Iterable[Any], ready: queue.Queue[Any], unwanted: threading.Event, gives_way: bool) -> None:
    if gives_way and sys.platform == "linux":  # elsewhere it would be the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWER)
    try:
        for item in items:
            if not _hand_over(item, ready, unwanted):
                break
    except BaseException as error:  # noqa: BLE001  it is raised again where the items are used
        _hand_over(_Failed(error), ready, unwanted)
    finally:
        close = getattr(items, "close", None)  # of a generator: the stages before it end, too
        if close is not None:
            close()
    _hand_over(_END, ready, unwanted)


def _hand_over(item: Any, ready: queue.Queue[Any], unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        try:
            ready.put(item, timeout=PATIENCE_S)
            return True
        except queue.Full:
            continue
    return False
