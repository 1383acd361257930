"""Connections with an end: uvicorn's HTTP protocol with limits on how many there are and how long a caller may take.

uvicorn waits for ever for a request that does not come, or comes a byte at a time, and for a caller that does not read.
Here each connection is looked at every few seconds; requests themselves pay nearly nothing.
"""

import asyncio
import logging
import resource
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.replies import raw_reply
from serving.server import Server
from serving.traffic import Traffic
from serving.writes import OneWrite

MOST = 1000  # connections that are served; as many more are told to come back
SPARE_FILES = 100  # for the spool, models, the store
LOOK_S = 2.0
READ_S = 30.0  # for a whole request, from its first byte or from the connection to its last byte
TAKE_S = 60.0  # for an answer that waits to be taken
LINGER_S = 1.0  # for a caller to read why it is sent away
LEAVE_S = 1.0  # for a caller that keeps a connection to ask again, and be told that the server ends
HEAD = 64 * 1024  # bytes of a request before its body
TRAILERS = 200  # fields after the head and after a chunked body

BUSY = raw_reply(503, "server", "too many connections")
LATE = raw_reply(408, "body", "the request did not arrive in time")
LARGE = raw_reply(431, "headers", f"larger than {HEAD} bytes")
BROKEN = raw_reply(400, "body", "not valid HTTP")


class Connection(HttpToolsProtocol):
    """One caller. `shed` is told why somebody was sent away."""

    traffic: Traffic
    shed: Callable[[str], None]
    most, read_s, take_s = MOST, READ_S, TAKE_S

    _since: float | None = None  # when the request that is being read began
    _unsent_since: float | None = None
    _head = 0  # bytes of it that were read
    _away = False
    _leaves = False
    _timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]  # as far as it is used
        self.traffic.peers.add(self)
        self._since = self.loop.time()
        self._timer = self.loop.call_later(LOOK_S, self._look)
        if len(self.traffic.peers) > 2 * self.most:
            transport.abort()
        self._away = len(self.traffic.peers) > self.most

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self.traffic.peers.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._away:  # what a caller sends that was sent away is not read
            self._send_away("connections", BUSY)
            return
        super().data_received(data)
        if self._since is not None:  # a request that is not complete
            self._watch_size(len(data))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._since, self._head = self.loop.time(), 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._since = None
        if self._leaves:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server ends. Who keeps this connection may be asking right now: the next answer says it is the last."""
        self._leaves = True
        if self._is_idle:
            self.loop.call_later(LEAVE_S, self._leave)
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        self._send_away("broken", BROKEN)

    def unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def _look(self) -> None:
        now = self.loop.time()
        self._timer = self.loop.call_later(LOOK_S, self._look)
        self._unsent_since = (self._unsent_since or now) if self.unsent() else None
        if self._unsent_since is not None and now - self._unsent_since > self.take_s:
            self.shed("slow reader")
            self.transport.abort()
        elif self._since is None:
            if self._is_idle and self.timeout_keep_alive_task is None:  # bytes came, but no request
                self._since = now
        elif self.flow.read_paused:  # it is the server that does not read
            self._since = now
        elif now - self._since > self.read_s:
            self._send_away("slow sender", LATE)

    def _leave(self) -> None:
        if self._is_idle:
            self.transport.close()

    def _may_reply(self, cycle: RequestResponseCycle) -> bool:
        """While a head is read: nobody else is being answered. While a body is read: it was not answered yet."""
        reading_body = cycle.scope is self.scope
        return not cycle.response_started if reading_body else cycle.response_complete

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch_size(self, size: int) -> None:
        """Of the head of a request, and of the fields behind its body."""
        if "method" in (self.scope or ()):
            if len(self.headers) > TRAILERS:
                self._send_away("large head", LARGE)
            return
        self._head += size
        if self._head > HEAD:
            self._send_away("large head", LARGE)

    def _send_away(self, why: str, reply: bytes) -> None:
        if self._since is None:  # it was told before
            return
        self._since, self._away = None, True
        self.shed(why)
        self._end(reply)

    def _end(self, reply: bytes) -> None:
        """Reply if nobody else does, and close a moment later: closing with bytes unread would take the reply away."""
        cycle = self.cycle
        if cycle is not None and (self.pipeline or not self._may_reply(cycle)):
            self.transport.abort()
            return
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(reply)
        self.loop.call_later(LINGER_S, self.transport.close)


def connection(server: Server) -> type[Connection]:
    """The protocol for uvicorn."""
    logging.getLogger("uvicorn.error").addFilter(Quiet())
    most = (_files(2 * MOST + SPARE_FILES) - SPARE_FILES) // 2
    own = {"traffic": server.traffic, "shed": staticmethod(server.metrics.shed), "most": most}
    return type("ServedConnection", (Connection,), own)


class Quiet(logging.Filter):
    """Keeps uvicorn's line for every broken request out of the log: they are counted, and nobody may fill the disk."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno != logging.WARNING or record.name != "uvicorn.error"


def _files(wanted: int) -> int:
    """How many files this process may have open, after asking for as many as are wanted; at most that many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)
