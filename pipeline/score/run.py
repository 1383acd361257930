"""One batch run: begun or gone on with, put together from the stages, finished. `loop score` is its edge."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from core.runtime import OnnxModel
from pipeline.score import answers
from pipeline.score.decode import Decoder, Dialect
from pipeline.score.journal import Journal, Scored
from pipeline.score.lookback import Lookback
from pipeline.score.prepare import Prepared, Preparer
from pipeline.score.sink import Sink
from pipeline.score.source import Source
from pipeline.score.stages import ahead
from problems import Problem

NOT_FINITE = "the model gave no finite number"


@dataclass(frozen=True)
class Job:
    """What is scored, by which model, where to."""

    problem: Problem
    source: Source
    output: Path
    version: str
    model: OnnxModel
    engine: Engine  # of the look-ups
    dialect: Dialect
    header: Mapping[str, Any]  # of the journal: what the run began with


@dataclass
class Tally:
    """How far a run is."""

    rows: int = 0  # read
    scored: int = 0
    rejected: int = 0
    resumed: int = 0  # rows that a run before this one had read
    seconds: float = 0.0
    missing: Counter[str] = field(default_factory=Counter)  # look-up -> rows for which there was none


def rejected_path(output: Path) -> Path:
    return output.with_name(f"{output.stem}.rejected{output.suffix}")


def run(job: Job, journal: Journal, seen: Callable[[Tally], None]) -> Tally:
    """Score what is left, write all, and tell `seen` after each chunk. The journal has its header; at the end it is
    gone and the output there."""
    started, tally = time.perf_counter(), Tally()
    sinks = [Sink(job.output, answers.output_schema(job.problem.spec))]
    sinks.append(Sink(rejected_path(job.output), answers.REJECTED))
    try:
        at = (0, 0)
        for scored in journal.replay():
            at = _take(job, scored, sinks, tally)
            tally.resumed = tally.rows
        with closing(ahead(_scored(job, at))) as found:
            for scored in found:
                journal.add(scored)
                _take(job, scored, sinks, tally)
                seen(tally)
        _finish(sinks)
    finally:
        journal.close()
        for sink in sinks:
            sink.abandon()
    journal.path.unlink()
    tally.seconds = time.perf_counter() - started
    return tally


def _scored(job: Job, at: tuple[int, int]) -> Iterator[Scored]:
    """Chunks from part and row `at` on, each stage ahead of the next; the graph takes longest, so it goes first."""
    decoder = Decoder(job.problem.spec, job.source.names(), job.dialect, np.datetime64(int(job.header["now"]), "s"))
    preparer = Preparer(
        job.problem, job.model, decoder, Lookback(job.engine, job.problem.spec, int(job.header["lookups"]))
    )
    with (
        closing(ahead(job.source.chunks(decoder.names, decoder.texts, *at), gives_way=True)) as chunks,
        closing(ahead(map(preparer.prepare, chunks), gives_way=True)) as prepared,
    ):
        for item in prepared:
            yield answered(job.model, item, answers.width(job.problem.spec))


def answered(model: OnnxModel, item: Prepared, width: int) -> Scored:
    """A chunk through the graph. `width`: numbers of a prediction. One that is not finite is a row's refusal."""
    n, reasons = len(item.ids), dict(item.reasons)
    raw = np.full((n, width), np.nan, np.float32)
    if len(item.good):
        raw[item.good] = model.predict(item.inputs).reshape(-1, width)
        failed = item.good[~np.isfinite(raw[item.good]).all(axis=1)]
        reasons |= dict.fromkeys(failed.tolist(), NOT_FINITE)
    why = pa.array([reasons.get(row) for row in range(n)], pa.string()) if reasons else pa.nulls(n, pa.string())
    columns = [item.ids, *(pa.array(np.ascontiguousarray(column)) for column in raw.T), why]
    return Scored(item.note, pa.RecordBatch.from_arrays(columns, schema=answers.raw_schema(width)))


def _take(job: Job, scored: Scored, sinks: list[Sink], tally: Tally) -> tuple[int, int]:
    """Write a chunk's results; returns where the next begins."""
    (output, rejected), rows, note = sinks, scored.rows, scored.note
    refused = rows.column(answers.REASON)
    if refused.null_count < rows.num_rows or note["broken"]:
        rejected.add(answers.rejected(rows, note, job.source.part_name(note["part"])))
        rows = rows.filter(refused.is_null())
    if rows.num_rows:
        output.add(answers.said(job.problem.spec, rows, job.version))
    tally.rows += scored.rows.num_rows
    tally.scored, tally.rejected = output.rows, rejected.rows
    tally.missing.update(note["missing"])
    return note["part"], note["end"]


def _finish(sinks: list[Sink]) -> None:
    output, rejected = sinks
    if rejected.rows:
        rejected.finish()
    output.finish()
