"""Reads the look-ups from the online store when they have changed. What they are used for is the predictor's business.

It waits for the store a moment only: one that hangs must not keep a release from being served.
"""

import logging
import threading
from collections.abc import Mapping
from typing import NamedTuple

from core import online
from core.lookups import Lookup
from core.schema import ProblemSpec
from serving.store import STORE_ERRORS, Store

log = logging.getLogger(__name__)
PATIENCE_S = 1.0


class Found(NamedTuple):
    """All look-ups, and the id of their newest row."""

    lookups: Mapping[str, Lookup]
    newest: int


class LookupReader:
    """For one thread. A look that takes longer goes on beside it, and is asked for its result the next time."""

    def __init__(self, spec: ProblemSpec, store: Store, patience_s: float = PATIENCE_S) -> None:
        self._spec, self._store, self._patience_s = spec, store, patience_s
        self._look: threading.Thread | None = None
        self._found: Found | None = None
        self._error: str | None = None

    def newer(self, than: int) -> Found | None:
        """What is in the store, unless its newest row is `than` or the store does not answer in time."""
        if self._look is None:
            self._look = threading.Thread(target=self._try, args=(than,), name="lookups", daemon=True)
            self._look.start()
        self._look.join(self._patience_s)
        if self._look.is_alive():
            return None
        self._look, found, self._found = None, self._found, None
        return found

    def _try(self, than: int) -> None:
        try:
            self._found = self._read(than)
            self._error = None
        except STORE_ERRORS as error:
            if self._error is None:
                log.warning("look-ups are not refreshed: %s", str(error).splitlines()[0][:200])
            self._error = str(error)

    def _read(self, than: int) -> Found | None:
        engine = self._store.engine()
        newest = online.newest(engine, self._spec.name)
        if newest == than:
            return None
        lookups = online.read(engine, self._spec.name, self._spec.lookups)
        for lookup in lookups.values():
            lookup.prepare()
        return Found(lookups, newest)
