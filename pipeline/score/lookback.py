"""The look-ups of the period that a table asks for, from the online store, wherever in time the table is."""

from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Engine

from core import online
from core.lookups import Lookup
from core.schema import ProblemSpec

AHEAD_S = 31 * 86400  # read at once beyond what a chunk asks for: rows are mostly in the order of their time


@dataclass
class Lookback:
    """What was read stays in memory: a look-up's rows are few beside the table's. Not for several threads.

    `upto`: the newest row's id when the run began, so that a run that goes on sees what it saw before.
    """

    engine: Engine
    spec: ProblemSpec
    upto: int
    _span: tuple[int, int] | None = None
    _held: dict[str, Lookup] = field(default_factory=dict)

    def of(self, at: np.ndarray) -> dict[str, Lookup]:
        """The look-ups for prediction times `at`, datetime64, shape (n,)."""
        seconds = at[~np.isnat(at)].astype("datetime64[s]").astype(np.int64)
        if self.spec.lookups and len(seconds):
            self._cover(int(seconds.min()), int(seconds.max()))
        elif not self._held:
            self._cover(0, 0)
        return self._held

    def _cover(self, first: int, last: int) -> None:
        if self._span is not None and self._span[0] <= first and last <= self._span[1]:
            return
        low, high = self._span or (first, last)
        self._span = min(low, first), max(high, last + AHEAD_S) if last > high or self._span is None else high
        self._held = online.between(self.engine, self.spec.name, self.spec.lookups, *self._span, self.upto)
