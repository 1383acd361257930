"""What callers make the server hold: connections, bodies being read, answers not yet taken. Bounded, so that no number
of callers, however slow, fills the memory. Knows no HTTP.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

HELD = 64 * 1024 * 1024  # bytes of large bodies and of answers that their callers have not taken
SMALL = 64 * 1024  # bytes: what a connection may hold without being counted


class NoRoom(Exception):
    """More would be held than is allowed."""


class Peer(Protocol):
    """A connection."""

    def unsent(self) -> int:
        """Bytes of answers that its caller has not taken."""


class Traffic:
    """Belongs to one event loop."""

    def __init__(self, limit: int = HELD) -> None:
        self.limit, self.bodies, self.peers = limit, 0, set[Peer]()

    @property
    def held(self) -> int:
        """Bytes."""
        return self.bodies + sum(peer.unsent() for peer in self.peers)

    @contextmanager
    def holding(self) -> Iterator["Held"]:
        """Room for one body."""
        held = Held(self)
        try:
            yield held
        finally:
            self.bodies -= held.size


class Held:
    """What one body takes."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic, self.size = traffic, 0

    def grow_to(self, size: int) -> None:
        """Raises NoRoom."""
        more = size - self.size
        if more > 0 and self._traffic.held + more > self._traffic.limit:
            raise NoRoom
        self._traffic.bodies += more
        self.size = size
