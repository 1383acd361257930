"""The local spool: an acknowledged prediction is in one of its files, and survives `kill -9` (not a power loss).

Append-only segments of JSON lines, NUMBER.jsonl. One process writes and reads them; what it holds beyond `limit`
bytes it refuses. Shipping is the shipper's business.
"""

import fcntl
import json
import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import ConfigError, LoopError

log = logging.getLogger(__name__)
LIMIT = 512 * 1024 * 1024  # bytes
SEGMENT = 8 * 1024 * 1024  # bytes
READ = 512 * 1024  # bytes handed out at once, or one line where that is longer
PROGRESS, REFUSED, OWNER = "progress.json", "refused.txt", "owner.lock"


class SpoolFull(LoopError):
    """Nothing more can be kept: over the limit, or the disk is full."""


@dataclass(frozen=True)
class Piece:
    """Complete lines of a segment; `end` is the offset behind them."""

    segment: int
    end: int
    lines: list[bytes]


class Spool:
    """Thread-safe: any thread appends, one thread reads."""

    def __init__(
        self, folder: Path, limit: int = LIMIT, segment_bytes: int = SEGMENT, patience_s: float = 10.0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._limit, self._segment_bytes = folder, limit, segment_bytes
        self._lock, self._owner = threading.Lock(), _own(folder, patience_s)
        shipped, offset = _progress(folder)
        self._segments = deque(sorted(int(path.stem) for path in folder.glob("*.jsonl")))
        self._offset = offset if self._segments and self._segments[0] == shipped else 0
        self.pending_bytes, self.pending_rows = self._left_over()
        self._last = max([shipped, *self._segments])  # a number is never used twice, or progress would skip lines
        self._open_next()

    def append(self, lines: bytes, rows: int) -> None:
        """Write complete lines; when this returns, the operating system has them. Raises SpoolFull."""
        with self._lock:
            if self.pending_bytes + len(lines) > self._limit:
                raise SpoolFull(f"the spool holds {self.pending_bytes} bytes that the store has not taken")
            if self._size >= self._segment_bytes:
                os.close(self._file)
                self._open_next()
            self._write(lines)
            self._size += len(lines)
            self.pending_bytes += len(lines)
            self.pending_rows += rows

    def read(self) -> Piece | None:
        """The oldest lines that `done` was not told of; None when there are none."""
        while True:
            segment, writing, size = self._oldest()
            with self._path(segment).open("rb") as file:
                file.seek(self._offset)
                content = _lines(file, size - self._offset)
            cut = content.rfind(b"\n") + 1
            if cut:
                return Piece(segment, self._offset + cut, content[:cut].splitlines())
            if writing:
                return None
            if content:
                log.warning("segment %d ends in a torn line of %d bytes, never acknowledged", segment, len(content))
            self._finish(segment, len(content))

    def done(self, piece: Piece) -> None:
        """These lines are in the store. A crash before this returns only ships them again."""
        _replace(self._folder / PROGRESS, json.dumps({"segment": piece.segment, "offset": piece.end}))
        with self._lock:
            self.pending_bytes -= piece.end - self._offset
            self.pending_rows -= len(piece.lines)
            self._offset = piece.end

    def refuse(self, line: bytes, reason: str) -> None:
        """Keep a line that the store will never take, for a person to look at."""
        log.error("the store refuses a record, kept in %s: %s", self._folder / REFUSED, reason)
        with (self._folder / REFUSED).open("ab") as file:
            file.write(line + b"\n")

    def close(self) -> None:
        os.close(self._file)
        os.close(self._owner)

    def _write(self, lines: bytes) -> None:
        try:
            if os.write(self._file, lines) == len(lines):
                return
            problem = "the disk is full"
        except OSError as error:
            problem = str(error)
        os.ftruncate(self._file, self._size)
        raise SpoolFull(f"cannot write to the spool: {problem}")

    def _open_next(self) -> None:
        self._last += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
        self._file, self._size = os.open(self._path(self._last), flags, 0o644), 0
        self._segments.append(self._last)

    def _oldest(self) -> tuple[int, bool, int]:
        """Its number, whether it is being written, and how many of its bytes count."""
        with self._lock:
            segment = self._segments[0]
            writing = segment == self._last
            return segment, writing, self._size if writing else self._path(segment).stat().st_size

    def _finish(self, segment: int, torn: int) -> None:
        with self._lock:
            self._segments.popleft()
            self._offset = 0
            self.pending_bytes -= torn
        self._path(segment).unlink()

    def _left_over(self) -> tuple[int, int]:
        """Bytes and rows that an earlier process left behind."""
        contents = [self._path(segment).read_bytes() for segment in self._segments]
        if contents:
            contents[0] = contents[0][self._offset :]
        return sum(map(len, contents)), sum(content.count(b"\n") for content in contents)

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:012d}.jsonl"


def _lines(file: IO[bytes], left: int) -> bytes:
    """READ bytes, or as many more as one line needs; at most what is left."""
    content = file.read(min(READ, left))
    while b"\n" not in content and len(content) < left:
        content += file.read(min(len(content), left - len(content)))
    return content


def _own(folder: Path, patience_s: float) -> int:
    """Lock the folder, waiting for a server that is shutting down; the kernel frees the lock when a process dies."""
    file, until = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(file)
                raise ConfigError(f"another server uses {folder}; give each its own LOOP_HOME") from None
            time.sleep(0.1)


def _progress(folder: Path) -> tuple[int, int]:
    path = folder / PROGRESS
    if not path.exists():
        return 0, 0
    found = json.loads(path.read_text())
    return int(found["segment"]), int(found["offset"])


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(text)
    partial.replace(path)
