"""The outermost gate, one pure ASGI layer: API keys, scopes, rate, security headers, request ids, lines in the log.

What it refuses it refuses before the body is read. The log gets one line for every request that was refused or failed,
and nothing that a caller sent but the id of the request: no body, no query, no header, no unknown path. It knows
nothing of what is asked.
"""

import itertools
import logging
import math
import os
import re
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.keys import KeyRing, is_loopback
from serving.rate import Buckets
from serving.replies import Errors, FieldError, json_reply

log = logging.getLogger(__name__)
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
PATHS = OPEN_PATHS | {"/predict", "/predict/batch", "/predict/image", "/metrics", "/release", "/docs", "/openapi.json"}
LINES_PER_S = 50.0  # in the log; what is beyond is counted
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
SAYS_WHERE, MOST_REMEMBERED = (b"host", b"origin", b"x-forwarded-for"), 1000
REALM = 'Bearer realm="closed-loop"'
Headers = Mapping[bytes, bytes]


def _marks(policy: str) -> list[tuple[bytes, bytes]]:
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store", "content-security-policy": policy}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


STRICT = _marks("default-src 'none'; frame-ancestors 'none'")
POLICIES = {"/docs": _marks("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")}  # has no script


class Refusal(Exception):
    """A request that goes no further; `by` is the name of its key, where it has one."""

    def __init__(self, status: int, field: str, message: str, by: str = "-", **headers: str) -> None:
        super().__init__(status)
        self.status, self.by = status, by
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = Errors(errors=[FieldError(field=field, message=message)]).model_dump()


class Guard:
    """Lets in who may, and marks every answer. `rate_per_s` is for one key, or one address; 0 is no limit."""

    def __init__(self, app: ASGIApp, ring: KeyRing, rate_per_s: float = 0.0) -> None:
        self.app, self._ring = app, ring
        self._buckets = Buckets(rate_per_s) if rate_per_s else None
        self._lines, self._unsaid = Buckets(LINES_PER_S, 1), 0
        self._prefix, self._numbers = os.urandom(6).hex().encode(), itertools.count()
        self._here: set[tuple[Any, ...]] = set()  # what callers of this machine say, so that it is read once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, headers, status = time.monotonic(), dict(scope["headers"]), 0
        request_id = _sane(headers.get(b"x-request-id")) or b"%s-%x" % (self._prefix, next(self._numbers))
        marks = [*POLICIES.get(scope["path"], STRICT), (b"x-request-id", request_id)]
        by, trouble = "-", ""

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *marks]
            await send(message)

        try:
            by = self._admit(scope, headers, started)
            await self.app(scope, receive, marked)
        except Refusal as refusal:
            by = refusal.by
            await json_reply(refusal.body, refusal.status, refusal.headers)(scope, receive, marked)
        except Exception as error:  # noqa: BLE001  whatever it is, the caller and the log learn no more than its kind
            trouble = _kind_and_place(error)
            if not status:
                await json_reply(_INTERNAL, 500)(scope, receive, marked)
        if trouble or (status >= 400 and scope["path"] not in OPEN_PATHS):  # not being ready is an answer
            self._say(scope, request_id, status, time.monotonic() - started, by, trouble)

    def _admit(self, scope: Scope, headers: Headers, now: float) -> str:
        """The name of the caller's key; "-" while the server is open, or for an open path. Raises Refusal."""
        path = scope["path"]
        if path in OPEN_PATHS:
            return "-"
        keys = self._ring.now(now)
        if keys is None:
            self._refuse_strangers(scope, headers)
            self._limit(_address(scope), "-", now)
            return "-"
        key = keys.find(_sent(headers))
        if key is None or (key.expires and not key.is_valid(datetime.now(UTC))):
            raise _unknown(key is not None, headers)
        self._limit(key.name, key.name, now)
        wanted = scope_of(path)
        if wanted not in key.scopes:
            message = f"the key {key.name!r} lacks the scope `{wanted}`, which this path needs"
            challenge = f'{REALM}, error="insufficient_scope", scope="{wanted}"'
            raise Refusal(403, "authorization", message, key.name, www_authenticate=challenge)
        return key.name

    def _refuse_strangers(self, scope: Scope, headers: Headers) -> None:
        """An open server answers this machine: not others, whether or not through a proxy here, and not the pages of
        other sites in a browser here.
        """
        said = (_address(scope), *map(headers.get, SAYS_WHERE))
        if said in self._here:
            return
        if not _is_from_here(*said):
            message = "without API keys the server answers this machine only, as localhost; `loop keys add` makes a key"
            raise Refusal(403, "authorization", message)
        if len(self._here) < MOST_REMEMBERED:
            self._here.add(said)

    def _limit(self, caller: str, by: str, now: float) -> None:
        wait_s = self._buckets.wait_s(caller, now) if self._buckets else 0.0
        if wait_s:
            message = "too many requests; send fewer, or batches"
            raise Refusal(429, "server", message, by, retry_after=str(math.ceil(wait_s)))

    def _say(self, scope: Scope, request_id: bytes, status: int, s: float, by: str, trouble: str) -> None:
        """One line; too many of them would be a way to fill a disk."""
        if self._lines.wait_s("", time.monotonic()):
            self._unsaid += 1
            return
        unsaid, self._unsaid = f" ({self._unsaid} before it not said)" if self._unsaid else "", 0
        path = scope["path"] if scope["path"] in PATHS else "(another path)"
        line = f"{request_id.decode()} {scope['method']} {path} {status} {1000 * s:.1f} ms key={by}"
        level = logging.ERROR if trouble else logging.WARNING if status >= 500 else logging.INFO
        log.log(level, "%s%s%s", line, f" {trouble}" if trouble else "", unsaid)


def scope_of(path: str) -> str:
    """The scope that a path needs: what is not known to be for callers is for operators."""
    return "predict" if path.startswith("/predict") else "operate"


_INTERNAL: dict[str, Any] = Errors(errors=[FieldError(field="server", message="internal error")]).model_dump()


def _sane(sent: bytes | None) -> bytes | None:
    return sent if sent and REQUEST_ID.fullmatch(sent) else None


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
    if forwarded:
        places.append(forwarded.partition(b",")[0].strip().decode("latin-1"))
    return all(map(is_loopback, places))


def _name(host: bytes) -> str:
    """Host without its port."""
    text = host.decode("latin-1")
    return text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]


def _kind_and_place(error: Exception) -> str:
    """What kind of error, and where; its message may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return f"{type(error).__name__} in " + " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
