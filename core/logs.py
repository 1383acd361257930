"""Logging for processes that we start ourselves. Airflow configures its own; modules only call `getLogger`."""

import logging
import sys


def configure(level: int = logging.INFO) -> None:
    """Log to standard error, one line a record. Call it once, in a process's entry point, never at import."""
    logging.basicConfig(
        level=level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    for chatty in ("httpx", "httpcore", "alembic", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
