"""What the graph gave to what a caller is told: the columns of the output, by the problem's task, as the server's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from core.schema import ProblemSpec

ID, REASON, VERSION = "id", "reason", "model_version"
REJECTED = pa.schema({"source": pa.string(), "row": pa.int64(), ID: pa.string(), REASON: pa.string()})


def raw_schema(width: int) -> pa.Schema:
    """Of the journal's rows: id, what the graph gave, and why a row was refused (null where it was not)."""
    numbers = [pa.field(f"raw_{i}", pa.float32()) for i in range(width)]
    return pa.schema([pa.field(ID, pa.string()), *numbers, pa.field(REASON, pa.string())])


def width(spec: ProblemSpec) -> int:
    """Numbers of a prediction (core.task)."""
    return len(spec.classes) if spec.task == "multiclass" else 1


def output_schema(spec: ProblemSpec) -> pa.Schema:
    """Of the output: id, what is said by the task, and the version that said it."""
    label = [pa.field("label", pa.dictionary(pa.int32(), pa.string()))] if spec.classes else []
    said = {
        "regression": [pa.field("value", pa.float64())],
        "binary": [*label, pa.field("probability", pa.float64())],
        "multiclass": [*label, *(pa.field(f"probabilities_{name}", pa.float64()) for name in spec.classes)],
    }[spec.task]
    return pa.schema([pa.field(ID, pa.string()), *said, pa.field(VERSION, pa.dictionary(pa.int32(), pa.string()))])


def said(spec: ProblemSpec, raw: pa.RecordBatch, version: str) -> pa.Table:
    """Raw rows that were not refused, as the output has them."""
    schema, n = output_schema(spec), raw.num_rows
    numbers = np.stack([column.to_numpy() for column in raw.columns[1:-1]], axis=1).astype(np.float64)
    if spec.task != "regression":
        numbers = np.clip(numbers, 0, 1)
    label = []
    if spec.classes:
        codes = numbers.argmax(axis=1) if spec.task == "multiclass" else numbers[:, 0] >= 0.5
        label = [pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(spec.classes))]
    versions = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), pa.array([version]))
    return pa.Table.from_arrays([raw.column(0), *label, *map(pa.array, numbers.T), versions], schema=schema)


def rejected(raw: pa.RecordBatch, note: Mapping[str, Any], source: str) -> pa.Table:
    """The rows of a chunk that were refused, numbered in their file from 1, and the lines that were no row."""
    bad = np.flatnonzero(raw.column(REASON).is_valid().to_numpy(zero_copy_only=False))
    numbers = [*(bad + note["start"] + 1).tolist(), *(None for _ in note["broken"])]
    ids = [*raw.column(ID).take(bad).to_pylist(), *(None for _ in note["broken"])]
    reasons = [*raw.column(REASON).take(bad).to_pylist(), *note["broken"]]
    return pa.table([[source] * len(reasons), numbers, ids, reasons], schema=REJECTED)
