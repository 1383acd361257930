"""Ships the spool to the prediction store: in order, at least once, de-duplicated there by id. Blocks no request."""

import logging
import threading

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from core import predictions
from serving.spool import Piece, Spool
from serving.store import STORE_ERRORS, Store

log = logging.getLogger(__name__)
IDLE_S, LONGEST_S = 0.2, 2.0  # between two looks, and between two tries while the store is down
STOPS_S = 5.0
BAD_RECORD = (DataError, IntegrityError, ValueError, TypeError, LookupError, OverflowError)


class Shipper(threading.Thread):
    """Runs until stopped; a store that is down is asked again, less and less often."""

    def __init__(self, spool: Spool, store: Store) -> None:
        super().__init__(name="shipper", daemon=True)
        self._spool, self._store, self._stopping = spool, store, threading.Event()
        self.store_error: str | None = None

    def run(self) -> None:
        wait_s = IDLE_S
        while not self._stopping.wait(wait_s):
            wait_s = IDLE_S if self._try() else min(2 * wait_s, LONGEST_S)

    def ship_all(self) -> bool:
        """Ship what is there now; False when the store did not take it.

        What comes meanwhile waits for the next time: chasing it would make ever smaller transactions.
        """
        try:
            left = self._spool.pending_bytes
            while piece := self._spool.read():
                self._ship(self._store.engine(), piece)
                self.store_error = None
                left -= piece.size
                if left <= 0:
                    break
            return True
        except STORE_ERRORS as error:
            self.store_error = _first_line(error)
            log.warning("the store takes no predictions, %d wait: %s", self._spool.pending_rows, self.store_error)
            return False

    def stop(self) -> None:
        """Stop, and ship the rest if the store takes it. A store that hangs is left alone: the spool is kept."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout=STOPS_S)
        if not self.is_alive():
            self.ship_all()

    def _try(self) -> bool:
        try:
            return self.ship_all()
        except Exception:  # a bug here must not end the thread: nothing would ever be shipped again
            log.exception("shipping failed; trying again")
            return False

    def _ship(self, engine: Engine, piece: Piece) -> None:
        try:
            predictions.add_lines(engine, piece.lines)
        except BAD_RECORD:
            for line in piece.lines:
                self._ship_one(engine, line)
        self._spool.done(piece)

    def _ship_one(self, engine: Engine, line: bytes) -> None:
        try:
            predictions.add_lines(engine, [line])
        except BAD_RECORD as error:
            self._spool.refuse(line, _kind(error))


def _kind(error: Exception) -> str:
    """What kind of error; its text may repeat what the record holds."""
    inner = getattr(error, "orig", None)
    return type(error).__name__ + (f" ({type(inner).__name__})" if inner else "")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
