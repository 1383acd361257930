"""Who may ask what: API keys with their scopes, and how often. Without keys, this machine only. It sends nothing."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.types import Scope

from core.keys import Key
from serving.keys import KeyRing, is_loopback
from serving.rate import Buckets
from serving.replies import one_error

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
MOST_REMEMBERED = 1000
REALM = 'Bearer realm="closed-loop"'
OPERATES = "closed_loop.may_operate"  # in the scope of an open path: whether its caller may see what operators see
Headers = Mapping[bytes, bytes]


class Refusal(Exception):
    """A request that goes no further; `by` is the name of its key, where it has one."""

    def __init__(self, status: int, field: str, message: str, by: str = "-", **headers: str) -> None:
        super().__init__(status)
        self.status, self.by = status, by
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = one_error(field, message)


class Admission:
    """`rate_per_s` is for one key, or one address; 0 is no limit."""

    def __init__(self, ring: KeyRing, rate_per_s: float) -> None:
        self._ring, self._buckets = ring, Buckets(rate_per_s) if rate_per_s else None
        self._here: set[tuple[Any, ...]] = set()  # what callers of this machine say, so that it is read once

    def admit(self, scope: Scope, headers: Headers, now: float) -> str:
        """The name of the caller's key; "-" while the server is open, or for an open path. Raises Refusal."""
        path = scope["path"]
        if path in OPEN_PATHS:
            scope[OPERATES] = self._operates(scope, headers, now)
            return "-"
        key = self._key(scope, headers, now, scope_of(path))
        by = key.name if key else "-"
        wait_s = self._buckets.wait_s(by if key else _address(scope), now) if self._buckets else 0.0
        if wait_s:
            message = "too many requests; send fewer, or batches"
            raise Refusal(429, "server", message, by, retry_after=str(math.ceil(wait_s)))
        return by

    def _key(self, scope: Scope, headers: Headers, now: float, wanted: str) -> Key | None:
        """The caller's key, which has the scope that is wanted; None while the server is open. Raises Refusal."""
        keys = self._ring.now(now)
        if keys is None:
            self._refuse_strangers(scope, headers)
            return None
        key = keys.find(_sent(headers))
        if key is None or (key.expires and not key.is_valid(datetime.now(UTC))):
            raise _unknown(key is not None, headers)
        if wanted not in key.scopes:
            message = f"the key {key.name!r} lacks the scope `{wanted}`, which this path needs"
            challenge = f'{REALM}, error="insufficient_scope", scope="{wanted}"'
            raise Refusal(403, "authorization", message, key.name, www_authenticate=challenge)
        return key

    def _operates(self, scope: Scope, headers: Headers, now: float) -> bool:
        try:
            self._key(scope, headers, now, "operate")
        except Refusal:
            return False
        return True

    def _refuse_strangers(self, scope: Scope, headers: Headers) -> None:
        """An open server answers this machine: not others, whether or not through a proxy here, and not the pages of
        other sites in a browser here.
        """
        said = (_address(scope), headers.get(b"host"), headers.get(b"origin"), headers.get(b"x-forwarded-for"))
        if said in self._here:
            return
        if not _is_from_here(*said):
            message = "without API keys the server answers this machine only, as localhost; `loop keys add` makes a key"
            raise Refusal(403, "authorization", message)
        if len(self._here) < MOST_REMEMBERED:
            self._here.add(said)


def scope_of(path: str) -> str:
    """The scope that a path needs: what is not known to be for callers is for operators."""
    return "predict" if path.startswith("/predict") else "operate"


def _sent(headers: Headers) -> bytes:
    """The key of a request; empty where there is none."""
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")


def _unknown(expired: bool, headers: Headers) -> Refusal:
    if not _sent(headers):
        message = "send an API key: `Authorization: Bearer KEY`, or `X-API-Key: KEY`"
        return Refusal(401, "authorization", message, www_authenticate=REALM)
    message = "the key has expired" if expired else "the key is not known"
    return Refusal(401, "authorization", message, www_authenticate=f'{REALM}, error="invalid_token"')


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "localhost"


def _is_from_here(client: str, host: bytes | None, origin: bytes | None, forwarded: bytes | None) -> bool:
    places = [client]
    if host:
        places.append(_name(host))
    if origin:
        places.append(_name(origin.partition(b"//")[2]))
    if forwarded:  # any of them: the caller may have written the first ones
        places += [place.strip() for place in forwarded.decode("latin-1").split(",")]
    return all(map(is_loopback, places))


def _name(host: bytes) -> str:
    """Host without its port."""
    text = host.decode("latin-1")
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
