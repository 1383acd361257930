"""What was scored so far, on disk: a run that was killed goes on from it, and its output is the same.

A header line says what is scored by which model; then one frame a chunk. A frame that was not written to its end is
dropped. It outlives the process, and is not flushed to the disk: after a power cut, frames whose checksum is wrong are
scored again.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

FRAME = struct.Struct("<III")  # bytes of the note, bytes of the rows, checksum of both


@dataclass(frozen=True)
class Scored:
    """A chunk's results, one row a row of the table: id, what the graph gave, and the reason of a row that was refused
    (else null). `note`: part, start and end as of source.Chunk, the look-ups that were missing, the broken lines."""

    note: dict[str, Any]
    rows: pa.RecordBatch


class Journal:
    """One run's file. `schema` is that of the rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self._schema = path, schema
        self._file: BinaryIO | None = None

    def header(self) -> dict[str, Any] | None:
        """Of the run that was begun; None where none was, or not even its header was written."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            line = file.readline()
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def begin(self, header: Mapping[str, Any]) -> None:
        self.path.write_bytes(json.dumps(header).encode() + b"\n")

    def replay(self) -> Iterator[Scored]:
        """What was scored, in its order. Afterwards the file ends with the last whole frame, and more can be added."""
        with self.path.open("r+b") as file:
            file.readline()
            whole = file.tell()
            while (found := self._read(file)) is not None:
                whole = file.tell()
                yield found
            file.truncate(whole)

    def add(self, scored: Scored) -> None:
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        note, rows = json.dumps(scored.note).encode(), scored.rows.serialize()
        checksum = zlib.crc32(rows, zlib.crc32(note))
        self._file.write(b"".join([FRAME.pack(len(note), len(rows), checksum), note, memoryview(rows)]))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, file: BinaryIO) -> Scored | None:
        head = file.read(FRAME.size)
        if len(head) < FRAME.size:
            return None
        note_size, rows_size, checksum = FRAME.unpack(head)
        note, rows = file.read(note_size), file.read(rows_size)
        if len(rows) < rows_size or zlib.crc32(rows, zlib.crc32(note)) != checksum:
            return None
        return Scored(json.loads(note), pa.ipc.read_record_batch(pa.py_buffer(rows), self._schema))
