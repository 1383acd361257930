"""What is done to a cluster while requests come in. It knows kubectl no more than the load: a cluster is what can do
these things (tests/e2e/kubectl.py; in the tests a fake one).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tests.e2e.judge import Phase

AGREED_S = 180.0


class Cluster(Protocol):
    def now(self) -> float:
        """Seconds since 1970, by the load's clock."""

    def loop(self, *words: str) -> str:
        """Run `loop`; returns what it printed. Raises where it fails."""

    def served(self) -> list[str | None]:
        """What each pod of the model server that is still there serves, also those that end; None: not ready."""

    def delete_a_pod(self) -> None:
        """As somebody who cleans up: the pod is told to end."""

    def drain(self) -> None:
        """Empty the node of one of the model server's pods, by eviction, and take it back."""

    def kill_a_server(self) -> None:
        """End a model server's process at once."""


class Story:
    """Does one thing after the other and notes when, and who may answer meanwhile."""

    def __init__(self, cluster: Cluster, hold_s: float, say: Callable[[str], None] = print) -> None:
        self.phases: list[Phase] = []
        self._cluster, self._hold_s, self.say = cluster, hold_s, say

    def tell(self, champion: str, other: str) -> None:
        """Every change of what is released, there and back; then pods that end in every way."""
        both = frozenset({champion, other})
        self.rest(champion)
        with self.phase("canary", both, must=both):
            self._loop("canary", other, "--percent", "50", "--reason", "e2e")
            self._hold()
        with self.phase("canary taken away", both):
            self._loop("abort", "--reason", "e2e")
            self._agreed(champion)
        self.rest(champion)
        with self.phase("rolling update", both, must=both):
            self._loop("promote", other, "--reason", "e2e")
            self._agreed(other)
        self.rest(other)
        with self.phase("roll-back", both, must=both):
            self.say(self._loop("rollback", "--reason", "e2e").strip())
            self._agreed(champion)
        self.rest(champion)
        self.mishaps(champion)

    def rest(self, version: str) -> None:
        """Nothing happens. Only this version answers."""
        only = frozenset({version})
        with self.phase(f"version {version} alone", only, must=only):
            self._hold()

    @contextmanager
    def phase(
        self, name: str, may: frozenset[str], must: frozenset[str] = frozenset(), breaks: bool = False
    ) -> Iterator[None]:
        self.say(f"{name} ...")
        began = self._cluster.now()
        yield
        self.phases.append(Phase(name, began, self._cluster.now(), may, must, breaks))

    def mishaps(self, champion: str) -> None:
        """The kill comes last: a node may remember connections to a dead pod for two minutes."""
        only = frozenset({champion})
        for name, happens in (
            ("a pod is deleted", self._cluster.delete_a_pod),
            ("a node is drained", self._cluster.drain),
        ):
            with self.phase(name, only, must=only):
                happens()
                self._agreed(champion)
            self.rest(champion)
        with self.phase("a server is killed", only, must=only, breaks=True):
            self._cluster.kill_a_server()
            self._hold()
            self._agreed(champion)

    def _loop(self, *words: str) -> str:
        return self._cluster.loop("release", *words)

    def _hold(self) -> None:
        time.sleep(self._hold_s)

    def _agreed(self, version: str) -> None:
        """Wait until there is no pod that serves anything else, not even one that is about to end."""
        until = time.monotonic() + AGREED_S
        while len(found := self._cluster.served()) < 2 or set(found) != {version}:
            if time.monotonic() > until:
                raise SystemExit(f"after {AGREED_S:.0f} s the pods serve {found}, not version {version} alone")
            time.sleep(0.5)
