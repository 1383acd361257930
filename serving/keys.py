"""The API keys that are valid now: follows the key file without a restart. What a key may do is the guard's business.

Without a file the server is open, to this machine only. Once there was a file it never opens again: a file that is
removed is a file without keys, and one that cannot be read leaves the keys as they were.
"""

import ipaddress
import logging
import time
from pathlib import Path

from core import keys
from core.errors import ConfigError
from core.keys import Keys

log = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0
Stamp = tuple[int, int, int]


class KeyRing:
    """Not thread-safe: the event loop asks, and the file is looked at once a second at most."""

    def __init__(self, path: Path) -> None:
        self._path, self._next_look = path, 0.0
        self._stamp = _stamp(path)
        self._keys = keys.read(path)

    def is_open(self) -> bool:
        return self.now(time.monotonic()) is None

    def now(self, monotonic_s: float) -> Keys | None:
        """The keys; None while the server is open."""
        if monotonic_s >= self._next_look:
            self._next_look = monotonic_s + LOOK_EVERY_S
            self._look()
        return self._keys

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = keys.read(self._path) or Keys()
            log.info("API keys changed: %s", ", ".join(key.name for key in self._keys.keys) or "none, nobody gets in")
        except ConfigError as error:
            log.error("API keys stay as they were: %s", error)


def refuse_open(host: str, path: Path) -> None:
    """Raise ConfigError where a server without keys would answer other machines."""
    found = keys.read(path)
    if not is_loopback(host) and (found is None or not found.keys):
        raise ConfigError(
            f"no API key is in {path}, so anybody could ask a server on {host}. Make one with "
            "`loop keys add NAME --scope predict`, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _stamp(path: Path) -> Stamp | None:
    """What changes with the file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
