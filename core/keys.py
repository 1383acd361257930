"""API keys of the model server: their file, and whether a text that was sent is one of them. It knows no HTTP.

A key is 32 random bytes as text; the file holds its SHA-256. Slow, salted hashes (argon2, bcrypt) protect what people
choose and others guess; nobody guesses 256 random bits, so a fast hash gives nothing away and costs a request a
microsecond. The comparison goes through all keys, whichever fits, so that its time tells nothing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from pydantic import AwareDatetime, Field, ValidationError

from core.config import Frozen
from core.errors import ConfigError
from core.private import locked, write_private

Scope = Literal["predict", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
MARK = "loop_"  # so that people and secret scanners see what it is
LONGEST = 200  # characters of what is sent; more is no key of ours


class Key(Frozen):
    """One key, without the key."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Who uses it. Two keys share it in a rotation.")
    hash: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the key, hexadecimal.")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def is_valid(self, now: datetime) -> bool:
        return self.expires is None or now < self.expires


class Keys(Frozen):
    """All keys. Changes make a new one."""

    keys: tuple[Key, ...] = ()

    @cached_property
    def _digests(self) -> list[tuple[Key, bytes]]:
        return [(key, bytes.fromhex(key.hash)) for key in self.keys]

    def find(self, sent: bytes) -> Key | None:
        """The key that was sent, expired or not."""
        if len(sent) > LONGEST:
            return None
        found, digest = None, hashlib.sha256(sent).digest()
        for key, known in self._digests:
            if hmac.compare_digest(known, digest):
                found = key
        return found

    def named(self, name: str) -> tuple[Key, ...]:
        found = tuple(key for key in self.keys if key.name == name)
        if not found:
            known = ", ".join(sorted({key.name for key in self.keys})) or "none"
            raise ConfigError(f"there is no key named {name!r}; there are: {known}")
        return found

    def added(self, name: str, key: str, scopes: Iterable[str], lives: timedelta | None = None) -> "Keys":
        """With a new key, valid for that long or for good. Raises ConfigError for a name that is taken."""
        if any(each.name == name for each in self.keys):
            raise ConfigError(f"there is a key named {name!r}; `loop keys rotate` replaces it, another name adds one")
        return Keys(keys=(*self.keys, _key(name, key, scopes, lives)))

    def admitted(self, name: str, key: str, scopes: Iterable[str] = SCOPES) -> "Keys":
        """With this very key, for good, in the place of all others of its name."""
        found = self.find(key.encode())
        if found is not None and (found.name, found.expires) == (name, None):
            return self
        others = tuple(each for each in self.keys if each.name != name)
        return Keys(keys=others).added(name, key, scopes)

    def without(self, name: str) -> "Keys":
        gone = self.named(name)
        return Keys(keys=tuple(key for key in self.keys if key not in gone))

    def rotated(self, name: str, key: str, overlap: timedelta, lives: timedelta | None = None) -> "Keys":
        """With a new key of the same scopes. What was valid ends after `overlap`, what had expired is dropped.

        Without `lives` the new key lives as long as the one before it was made for.
        """
        old, now = self.named(name), datetime.now(UTC)
        last, until = old[-1], now + overlap
        if lives is None and last.expires is not None:
            lives = last.expires - last.created
        others = [each for each in self.keys if each not in old]
        ending = [
            each.model_copy(update={"expires": min(each.expires or until, until)}) for each in old if each.is_valid(now)
        ]
        return Keys(keys=(*others, *ending, _key(name, key, last.scopes, lives)))


def new_key() -> str:
    return MARK + secrets.token_urlsafe(32)


def read(path: Path) -> Keys | None:
    """The keys in this file, None where there is no such file. Raises ConfigError, which repeats nothing of it."""
    try:
        return Keys.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_input=False)[0]["loc"])) or "the whole file"
        raise ConfigError(f"{path} is no key file ({where} is wrong); `loop keys` writes it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def change(path: Path, edit: Callable[[Keys], Keys]) -> None:
    """Replace the file by what `edit` makes of it. Only its owner can read it."""
    with locked(path):
        write_private(path, edit(read(path) or Keys()).model_dump_json(indent=1) + "\n")


def admit(path: Path, name: str, key: str) -> None:
    """See that this very key, with all scopes, is in the file, where there is one."""
    found = read(path)
    if found is not None and found.admitted(name, key) != found:
        change(path, lambda keys: keys.admitted(name, key))


def _key(name: str, key: str, scopes: Iterable[str], lives: timedelta | None) -> Key:
    now = datetime.now(UTC).replace(microsecond=0)
    wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
    try:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return Key(name=name, hash=digest, scopes=wanted, created=now, expires=None if lives is None else now + lives)
    except ValidationError:
        raise ConfigError("a key has a name of letters, digits, dot, dash, underscore, and a scope or two") from None
