"""Ships the spool to the prediction store: in order, at least once, de-duplicated there by id. Blocks no request."""

import logging
import threading
from datetime import date
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from core import predictions
from serving.spool import Piece, Spool
from serving.store import STORE_ERRORS, Store

log = logging.getLogger(__name__)
IDLE_S, LONGEST_S = 0.2, 5.0
BAD_RECORD = (DataError, IntegrityError, ValueError, KeyError)


class Shipper(threading.Thread):
    """Runs until stopped; a store that is down is asked again, less and less often."""

    def __init__(self, spool: Spool, store: Store) -> None:
        super().__init__(name="shipper", daemon=True)
        self._spool, self._store, self._stopping = spool, store, threading.Event()

    def run(self) -> None:
        wait_s = IDLE_S
        while not self._stopping.wait(wait_s):
            wait_s = IDLE_S if self.ship_all() else min(2 * wait_s, LONGEST_S)

    def ship_all(self) -> bool:
        """Ship what is there; False when the store did not take it."""
        try:
            while piece := self._spool.read():
                self._ship(self._store.engine(), piece)
            return True
        except STORE_ERRORS as error:
            log.warning("the store takes no predictions, %d wait: %s", self._spool.pending_rows, _first_line(error))
            return False

    def stop(self) -> None:
        """Stop, and ship the rest if the store takes it."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout=LONGEST_S)
        self.ship_all()

    def _ship(self, engine: Engine, piece: Piece) -> None:
        try:
            predictions.add_lines(engine, piece.lines)
        except BAD_RECORD:
            for line in piece.lines:
                self._ship_one(engine, line)
        self._spool.done(piece)

    def _ship_one(self, engine: Engine, line: bytes) -> None:
        try:
            predictions.add(engine, [_record(line)])
        except BAD_RECORD as error:
            self._spool.refuse(line, _first_line(error))


def _record(line: bytes) -> dict[str, Any]:
    record: dict[str, Any] = from_json(line)
    record["day"] = date.fromisoformat(record["day"])
    return record


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
