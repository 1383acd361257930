"""The outermost gate, one pure ASGI layer: asks `admission`, adds security headers and request ids, writes the log and
notes how long each request took.

What is refused is refused before the body is read. The log gets one line for every request that was refused or failed,
and nothing that a caller sent but the id of the request: no body, no query, no header, no unknown path. It knows
nothing of what is asked.
"""

import itertools
import logging
import os
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.admission import OPEN_PATHS, Admission, Refusal
from serving.keys import KeyRing
from serving.rate import Buckets
from serving.replies import json_reply, one_error
from serving.telemetry import PATHS as TIMED

Note = Callable[[str, int, float], None]
log = logging.getLogger(__name__)
PATHS = TIMED | {"/docs", "/openapi.json"}
LINES_PER_S = 50.0  # in the log; what is beyond is counted
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def _marks(policy: str) -> list[tuple[bytes, bytes]]:
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store", "content-security-policy": policy}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


STRICT = _marks("default-src 'none'; frame-ancestors 'none'")
POLICIES = {"/docs": _marks("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")}  # has no script


class Guard:
    """Lets in who may, and marks every answer. `rate_per_s` is for one key, or one address; 0 is no limit.

    `note` is told every request's path, status (0: it got no answer) and seconds.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, rate_per_s: float = 0.0, note: Note = lambda *_: None) -> None:
        self.app, self._admission, self._note = app, Admission(ring, rate_per_s), note
        self._lines, self._unsaid = Buckets(LINES_PER_S, 1), 0
        self._prefix, self._numbers = os.urandom(6).hex().encode(), itertools.count()

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
            by = self._admission.admit(scope, headers, started)
            await self.app(scope, receive, marked)
        except Refusal as refusal:
            by = refusal.by
            await json_reply(refusal.body, refusal.status, refusal.headers)(scope, receive, marked)
        except Exception as error:  # noqa: BLE001  whatever it is, the caller and the log learn no more than its kind
            trouble = _kind_and_place(error)
            if not status:
                await json_reply(one_error("server", "internal error"), 500)(scope, receive, marked)
        finally:
            self._note(scope["path"], status, time.monotonic() - started)
        if trouble or (status >= 400 and scope["path"] not in OPEN_PATHS):  # not being ready is an answer
            self._say(scope, request_id, status, time.monotonic() - started, by, trouble)

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


def _sane(sent: bytes | None) -> bytes | None:
    return sent if sent and REQUEST_ID.fullmatch(sent) else None


def _kind_and_place(error: Exception) -> str:
    """What kind of error, and where; its message may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return f"{type(error).__name__} in " + " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
