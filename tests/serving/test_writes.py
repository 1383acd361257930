"""The head of an answer and its body leave in one write; nothing is held for longer than a turn of the loop."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from serving.writes import OneWrite

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"{}"


@dataclass
class Wire:
    """Remembers what is written, and what else is asked of it."""

    written: list[bytes] = field(default_factory=list)
    closed_after: int | None = None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed_after = len(self.written)

    def get_write_buffer_size(self) -> int:
        return 7


def written(*pieces: bytes, turns: int = 0, close: bool = False) -> Wire:
    """A wire after these pieces were written to it, and that many turns of the loop."""

    async def write() -> Wire:
        wire: Any = Wire()
        transport = OneWrite(wire, asyncio.get_running_loop())
        for piece in pieces:
            transport.write(piece)
        if close:
            transport.close()
        for _ in range(turns):
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() == 7
        return replace(wire, written=list(wire.written))  # without what the end of the loop adds

    return asyncio.run(write())


@pytest.mark.parametrize("answers", [1, 3])
def test_an_answer_is_one_write(answers: int) -> None:
    assert written(*[HEAD, BODY] * answers, turns=2).written == [HEAD + BODY] * answers


def test_a_head_without_a_body_leaves_in_the_next_turn() -> None:
    assert written(HEAD).written == []
    assert written(HEAD, turns=2).written == [HEAD]
    assert written(HEAD, b"").written == [HEAD]


def test_what_comes_in_pieces_keeps_its_order() -> None:
    chunks = [HEAD, b"2\r\n{}\r\n", b"0\r\n\r\n"]
    wire = written(*chunks, turns=2)
    assert wire.written == [HEAD + b"2\r\n{}\r\n", b"0\r\n\r\n"]


def test_nothing_is_lost_when_the_connection_is_closed_at_once() -> None:
    wire = written(HEAD, close=True)
    assert (wire.written, wire.closed_after) == ([HEAD], 1)
