"""The output, and beside it the rows that were refused: Parquet or CSV by the suffix, whole or not there at all."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from core.errors import DataError

GROUP = 1 << 18  # rows of a row group
SUFFIXES = (".parquet", ".csv")


class Sink:
    """One file. It has its name once it is finished."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        if path.suffix not in SUFFIXES:
            raise DataError(f"{path} must end in {' or '.join(SUFFIXES)}: that is how it is written")
        self.path, self.rows, self._schema = path, 0, schema
        self._partial = path.with_name(f"{path.name}.part")
        self._held: list[pa.Table] = []
        self._writer: Any = None

    def add(self, table: pa.Table) -> None:
        """Rows are written in groups whose sizes do not depend on how they came."""
        self.rows += len(table)
        self._held.append(table)
        while sum(map(len, self._held)) >= GROUP:
            together = pa.concat_tables(self._held)
            self._write(together.slice(0, GROUP))
            self._held = [together.slice(GROUP)]

    def finish(self) -> None:
        if sum(map(len, self._held)):
            self._write(pa.concat_tables(self._held))
        self._open().close()
        self._partial.replace(self.path)

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, table: pa.Table) -> None:
        self._open().write_table(table)

    def _open(self) -> Any:
        if self._writer is None:
            csv = self.path.suffix == ".csv"
            self._writer = (pa_csv.CSVWriter if csv else pq.ParquetWriter)(self._partial, self._schema)
        return self._writer
