"""The database, connected when it is first needed: the server starts and answers while it is down."""

import threading

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.database import connect

STORE_ERRORS = (SQLAlchemyError, OSError)
STATEMENT_S = 30.0  # a store that takes longer is as good as down


class Store:
    """Thread-safe. `engine` raises one of STORE_ERRORS while the database cannot be reached."""

    def __init__(self, url: str) -> None:
        self._url, self._lock = url, threading.Lock()
        self._engine: Engine | None = None

    def engine(self) -> Engine:
        with self._lock:
            self._engine = self._engine or connect(self._url, STATEMENT_S)
            return self._engine

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
