"""The local spool: an acknowledged prediction is in one of its files, and survives `kill -9` (not a power loss).

Append-only segments of JSON lines, NUMBER.jsonl. One process writes and reads them; what it holds beyond `limit`
bytes it refuses. Shipping is the shipper's business.
"""

import errno
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
READ = 1024 * 1024  # bytes handed out at once, or one line where that is longer
ROOM = 0.9  # of the limit: below it, a spool that was full is not full any more
PROBE_BYTES = 64 * 1024  # what must fit on a disk that was full
PROGRESS, REFUSED, OWNER, PROBE = "progress.json", "refused.txt", "owner.lock", "probe"


class SpoolFull(LoopError):
    """Nothing more can be kept: over the limit, or the disk is full."""


@dataclass(frozen=True)
class Piece:
    """Complete lines of a segment; `end` is the offset behind them, `size` their bytes."""

    segment: int
    end: int
    size: int
    lines: list[bytes]


class Spool:
    """Thread-safe: any thread appends, one thread reads."""

    def __init__(
        self, folder: Path, limit: int = LIMIT, segment_bytes: int = SEGMENT, patience_s: float = 10.0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self.limit, self._segment_bytes = folder, limit, segment_bytes
        self._lock, self._owner = threading.Lock(), _own(folder, patience_s)
        shipped, offset = _progress(folder)
        self._segments = deque(sorted(int(path.stem) for path in folder.glob("*.jsonl")))
        self._offset = offset if self._segments and self._segments[0] == shipped else 0
        self.pending_bytes, self.pending_rows = self._left_over()
        self._last = max([shipped, *self._segments])  # a number is never used twice, or progress would skip lines
        self._file = -1
        self._torn, self._over, self._failed, self._unnoted = False, False, "", False
        self._open_next()

    def append(self, lines: bytes, rows: int) -> None:
        """Write complete lines; when this returns, the operating system has them. Raises SpoolFull."""
        with self._lock:
            if self.pending_bytes + len(lines) > self.limit:
                self._over = True
                raise SpoolFull(self._too_much())
            try:
                self._write(lines)
            except OSError as error:
                self._failed = f"cannot write to the spool: {error.strerror or error}"
                raise SpoolFull(self._failed) from error
            self._failed = ""
            self._size += len(lines)
            self.pending_bytes += len(lines)
            self.pending_rows += rows

    def trouble(self) -> str | None:
        """Why it takes nothing more, or not everything; None when it does, as far as it knows. Tries a full disk again.

        Over its limit it stays full until there is some room, also while a small record still fits.
        """
        with self._lock:
            if self._over and self.pending_bytes < ROOM * self.limit:
                self._over = False
            if self._failed and self._takes():
                self._failed = ""
            return self._too_much() if self._over else self._failed or None

    def read(self) -> Piece | None:
        """The oldest lines that `done` was not told of; None when there are none."""
        while True:
            segment, writing, size = self._oldest()
            with self._path(segment).open("rb") as file:
                file.seek(self._offset)
                content = _lines(file, size - self._offset)
            cut = content.rfind(b"\n") + 1
            if cut:
                return Piece(segment, self._offset + cut, cut, content[: cut - 1].split(b"\n"))
            if writing:
                return None
            if content:
                log.warning("segment %d ends in a torn line of %d bytes, never acknowledged", segment, len(content))
            self._finish(segment, len(content))

    def done(self, piece: Piece) -> None:
        """These lines are in the store. A crash before this returns only ships them again."""
        self._note(piece)
        with self._lock:
            self._gone(piece.size, len(piece.lines))
            self._offset = piece.end

    def refuse(self, line: bytes, reason: str) -> None:
        """Keep a line that the store will never take, for a person to look at."""
        log.error("the store refuses a record, kept in %s: %s", self._folder / REFUSED, reason)
        with (self._folder / REFUSED).open("ab") as file:
            file.write(line + b"\n")

    def close(self) -> None:
        os.close(self._file)
        os.close(self._owner)

    def _note(self, piece: Piece) -> None:
        """On a full disk progress is not noted: shipped segments go all the same, and so make room."""
        try:
            _replace(self._folder / PROGRESS, json.dumps({"segment": piece.segment, "offset": piece.end}))
            self._unnoted = False
        except OSError as error:
            if not self._unnoted:
                log.warning("progress is not noted, so a restart ships some lines again: %s", error)
            self._unnoted = True

    def _write(self, lines: bytes) -> None:
        """All of it or nothing. Raises OSError."""
        if self._torn:
            self._cut()
        if self._size >= self._segment_bytes:
            self._open_next()
        self._torn = True
        try:
            written = os.write(self._file, lines)
        except OSError:
            self._cut()
            raise
        if written != len(lines):
            self._cut()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._torn = False

    def _cut(self) -> None:
        """Remove half a line; while that fails, nothing more is written."""
        os.ftruncate(self._file, self._size)
        self._torn = False

    def _takes(self) -> bool:
        """Whether a small file can be written. The caller holds the lock."""
        try:
            (self._folder / PROBE).write_bytes(bytes(PROBE_BYTES))
            return True
        except OSError:
            return False
        finally:
            (self._folder / PROBE).unlink(missing_ok=True)

    def _too_much(self) -> str:
        return f"the spool is full: it holds {self.pending_bytes} bytes that the store has not taken"

    def _open_next(self) -> None:
        """Raises OSError, and leaves all as it was."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC
        file = os.open(self._path(self._last + 1), flags, 0o644)
        if self._file >= 0:
            os.close(self._file)
        self._last += 1
        self._file, self._size = file, 0
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
            self._gone(torn, 0)
        self._path(segment).unlink()

    def _gone(self, size: int, rows: int) -> None:
        """Rows may have been an estimate: there is one at least while there are bytes, and none after."""
        self.pending_bytes -= size
        self.pending_rows = max(self.pending_rows - rows, 1) if self.pending_bytes else 0

    def _left_over(self) -> tuple[int, int]:
        """Bytes and rows that an earlier process left behind; rows are an estimate where that is much.

        A backlog of half a gigabyte must not keep a server from being ready.
        """
        size = rows = 0
        for number, segment in enumerate(self._segments):
            with self._path(segment).open("rb") as file:
                left = os.fstat(file.fileno()).st_size - file.seek(0 if number else self._offset)
                sample = file.read(READ)
            size += left
            rows += round(sample.count(b"\n") * left / len(sample)) if sample else 0
        return size, rows

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
