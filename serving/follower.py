"""Follows the registry and the online store, and swaps the state that requests are answered with. Decides nothing.

A version that is refused leaves the server on what it has. A registry or store that is down changes nothing.
"""

import logging
import threading
import time
from dataclasses import dataclass, field, replace

from core.errors import ModelRefused, RegistryError, RegistryUnavailable
from core.releases import Reader, Release
from core.schema import ProblemSpec
from serving.cache import ModelCache
from serving.lookups import LookupReader
from serving.pin import Pin
from serving.state import ServedModel, State
from serving.store import Store

log = logging.getLogger(__name__)
RETRY_S = 60.0


@dataclass
class Refusals:
    """Why versions are not served, and when each may be tried again."""

    reasons: dict[str, str] = field(default_factory=dict)
    _retry_at: dict[str, float] = field(default_factory=dict)

    def add(self, version: str, reason: str) -> None:
        log.error("version %s is refused: %s", version, reason)
        self.reasons = self.reasons | {version: reason}
        self._retry_at[version] = time.monotonic() + RETRY_S

    def forgive(self) -> None:
        """The release has changed: every version may be tried again."""
        self._retry_at.clear()

    def clear(self, version: str) -> None:
        self.reasons = {name: reason for name, reason in self.reasons.items() if name != version}

    def bar(self, version: str) -> bool:
        return time.monotonic() < self._retry_at.get(version, 0.0)


class Follower(threading.Thread):
    """The only writer of `state`; any thread reads it."""

    def __init__(
        self, spec: ProblemSpec, reader: Reader, cache: ModelCache, store: Store, poll_s: float, pin: Pin
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self._spec, self._reader, self._cache, self._poll_s, self._pin = spec, reader, cache, poll_s, pin
        self._lookups = LookupReader(spec, store)
        self._stopping = threading.Event()
        self.state = State.empty(spec)
        self.wanted: Release | None = None
        self.registry_error: str | None = "the registry was not asked yet"
        self.refusals = Refusals()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except Exception:  # a bug here must not leave the server blind to the next release
                log.exception("following failed; trying again")
            self._stopping.wait(self._poll_s)

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(timeout=10)

    def step(self) -> None:
        """Look once at everything. Look-ups first: a server that becomes ready has them."""
        self._follow_lookups()
        try:
            wanted = self._pin.of(self._reader.release())
            if wanted != self.wanted:
                self.refusals.forgive()
                self.wanted = wanted
            self._serve(wanted)
        except RegistryError as error:
            self._registry_answers(str(error))
            if not self.state.answers and self.wanted is None:
                self._serve_remembered()

    @property
    def reason(self) -> str | None:
        """Why what is served is not what is released; None when all is well."""
        wanted = self.wanted
        if self.registry_error and (wanted is None or not self.state.answers):
            return self.registry_error
        if wanted is None or wanted.champion is None:
            return f"the registry has no champion for {self._spec.name}"
        refused = [v for v in (wanted.champion, wanted.tried) if v in self.refusals.reasons]
        return "; ".join(f"version {v} is refused: {self.refusals.reasons[v]}" for v in refused) or None

    def _serve(self, wanted: Release) -> None:
        champion = self._usable(wanted.champion) or (self.state.champion if wanted.champion else None)
        tried = self._usable(wanted.tried) if champion else None
        if tried and champion and tried.version == champion.version:
            tried = None
        self._registry_answers(None)  # before anybody sees that the server is ready
        self._swap(self._state(wanted, champion, tried))

    def _state(self, wanted: Release, champion: ServedModel | None, tried: ServedModel | None) -> State:
        """The same look-ups with these models, the challenger in the role that the registry gives it."""
        canary, shadow = (tried, None) if wanted.canary else (None, tried)
        percent = wanted.percent if canary else 0.0
        answers = champion is not None and self._pin.met(champion, canary)
        return replace(self.state, champion=champion, canary=canary, shadow=shadow, percent=percent, answers=answers)

    def _swap(self, state: State) -> None:
        before, self.state = self.state, state
        if before.release != state.release:
            log.info("now serving: %s", state.release)
            if state.champion:
                self._cache.remember(state)

    def _usable(self, version: str | None) -> ServedModel | None:
        """The loaded version; None when there is none to load or it is refused."""
        for model in self.state.roles.values():
            if model.version == version:
                return model
        if version is None or self.refusals.bar(version):
            return None
        try:
            model = self._cache.load(version)
        except RegistryUnavailable:
            raise
        except (ModelRefused, RegistryError) as error:
            self.refusals.add(version, str(error))
            return None
        self.refusals.clear(version)
        return model

    def _serve_remembered(self) -> None:
        """The registry is down at the start: serve what was served last."""
        found = self._cache.remembered()
        if found is None:
            return
        release, digests = found
        if release != self._pin.of(release):
            return  # what was served here last is not what this server is to serve
        try:
            loaded = {version: self._cache.load_offline(version, wanted) for version, wanted in digests.items()}
        except ModelRefused as error:
            self.registry_error = f"{self.registry_error}; and the cache is of no use: {error}"
            return
        champion, tried = loaded.get(release.champion or ""), loaded.get(release.challenger or "")
        log.warning("the registry does not answer: serving the last known release from the local cache")
        self._swap(self._state(release, champion, tried))

    def _registry_answers(self, error: str | None) -> None:
        if error and not self.registry_error:
            log.warning("%s; going on with what is loaded", error)
        self.registry_error = error

    def _follow_lookups(self) -> None:
        found = self._lookups.newer(self.state.lookups_id)
        if found is not None:
            self.state = replace(self.state, lookups=found.lookups, lookups_id=found.newest)
