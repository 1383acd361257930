"""A transport that sends the head of an answer together with its body: one system call and one packet instead of two.

uvicorn writes them one by one. All else is passed on; what is held is sent in the next turn of the loop at the latest.
"""

import asyncio
from typing import Any

HEAD_END = b"\r\n\r\n"


class OneWrite:
    """Stands before a connection's transport."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._held = transport, loop, b""

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        elif data.endswith(HEAD_END):
            self._held = data
            self._loop.call_soon(self._send_held)
            return
        self._transport.write(data)

    def close(self) -> None:
        self._send_held()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send_held(self) -> None:
        if self._held:
            self._transport.write(self._held)
            self._held = b""
