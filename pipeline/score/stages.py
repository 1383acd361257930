"""Stages that work at the same time: each in a thread of its own, a few items ahead of the one that asks."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
AHEAD = 2  # finished items that wait: more only takes memory
PATIENCE_S = 0.1  # how often a stage that waits looks whether anybody still wants its items
_END = object()


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items in the same order, made in a thread. An error comes out where its item would have."""
    ready: queue.Queue[Any] = queue.Queue(AHEAD)
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(items, ready, unwanted), daemon=True)
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


def _make(items: Iterable[Any], ready: queue.Queue[Any], unwanted: threading.Event) -> None:
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
