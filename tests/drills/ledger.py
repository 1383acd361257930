"""What clients were promised, against what the store has."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import select

from core.database import connect
from core.predictions import PREDICTIONS


@dataclass
class Ledger:
    """Acknowledged predictions: id -> event id. Every request has an event id of its own and is never sent again."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)  # by status
    unkind: list[str] = field(default_factory=list)  # refusals that were not a 503 with Retry-After
    broken: int = 0  # connections that ended without an answer
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, predictions: list[dict[str, str]]) -> None:
        with self._lock:
            self.acknowledged |= {said["prediction_id"]: said["event_id"] for said in predictions}

    def note_refusal(self, status: int, retry_after: str | None, text: str) -> None:
        with self._lock:
            self.refused[status] += 1
            if status != 503 or not retry_after:
                self.unkind.append(f"{status}: {text[:200]}")

    def note_break(self) -> None:
        with self._lock:
            self.broken += 1


@dataclass(frozen=True)
class Found:
    """Of what was acknowledged: how many are stored once, lost, or stored more often."""

    acknowledged: int
    once: int
    lost: int
    duplicated: int

    @property
    def well(self) -> bool:
        return self.acknowledged == self.once > 0 and self.lost == self.duplicated == 0


def compare(ledger: Ledger, store_url: str) -> Found:
    """An event that is stored twice counts as a duplicate, acknowledged or not: it was asked about once."""
    stored = _stored(store_url)
    events = Counter(stored.values())
    lost = [said for said, event in ledger.acknowledged.items() if stored.get(said) != event]
    twice = [event for event, times in events.items() if times > 1]
    once = len(ledger.acknowledged) - len(lost) - len(set(ledger.acknowledged.values()) & set(twice))
    return Found(len(ledger.acknowledged), once, len(lost), len(twice))


def _stored(store_url: str) -> dict[str, str]:
    engine = connect(store_url)
    with engine.connect() as connection:
        found = {row.id: row.event_id for row in connection.execute(select(PREDICTIONS.c.id, PREDICTIONS.c.event_id))}
    engine.dispose()
    return found
