"""Logging for processes that we start ourselves. Airflow configures its own; modules only call `getLogger`."""

import logging
import sys
import traceback
from types import TracebackType

FORMAT, TIME = "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"
Info = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Discreet(logging.Formatter):
    """Writes of an exception its kind and its places. What it says, and what caused it, may hold what a caller sent."""

    def formatException(self, ei: Info) -> str:  # noqa: N802  the name is logging's
        kind, _, at = ei
        name = kind.__name__ if kind else "no exception"
        return "".join([*traceback.format_tb(at), f"{name} (its message is left out)"])


def configure(level: int = logging.INFO, discreet: bool = False) -> None:
    """Log to standard error, one line a record. Call it once, in a process's entry point, never at import.

    `discreet` is for a process that handles what others send.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((Discreet if discreet else logging.Formatter)(FORMAT, TIME))
    logging.basicConfig(level=level, handlers=[handler])
    for chatty in ("httpx", "httpcore", "alembic", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
