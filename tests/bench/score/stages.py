"""Processor time of each stage of `loop score`, one after the other in one thread: what the machine does besides hardly
shows in it. `python -m tests.bench.score.stages FOLDER` prints microseconds a row as JSON."""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ |= {"ORT_DISABLE_TELEMETRY": "1"}

import numpy as np

import problems
from core.database import connect
from core.runtime import OnnxModel
from pipeline.score import answers
from pipeline.score.decode import Decoder, Dialect
from pipeline.score.journal import Journal
from pipeline.score.lookback import Lookback
from pipeline.score.prepare import Preparer
from pipeline.score.run import answered
from pipeline.score.sink import Sink
from pipeline.score.source import Files

CHUNKS = 30


class Stopwatch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] += time.process_time() - started


def stages(folder: Path) -> dict[str, float]:
    problem, watch, rows = problems.load("flights"), Stopwatch(), 0
    spec = problem.spec
    model = OnnxModel.load(folder / "bundle", spec)
    source = Files(str(folder / "in.parquet"))
    decoder = Decoder(spec, source.names(), Dialect(), np.datetime64("now", "s"))
    engine = connect(f"sqlite:///{folder / 'home' / 'loop.db'}")
    preparer = Preparer(problem, model, decoder, Lookback(engine, spec, upto=1 << 40))
    journal = Journal(folder / "stages.progress", answers.raw_schema(1))
    journal.begin({})
    sink, chunks = (
        Sink(folder / "stages.parquet", answers.output_schema(spec)),
        source.chunks(decoder.names, decoder.texts),
    )
    preparer.prepare(next(chunks))  # reads the look-ups
    for _ in range(CHUNKS):
        with watch.time("read"):
            chunk = next(chunks, None)
        if chunk is None:
            break
        with watch.time("decode and check"):
            decoder.decode(chunk)
        with watch.time("features and look-ups"):  # and decoding, which is taken off below
            prepared = preparer.prepare(chunk)
        with watch.time("graph"):
            scored = answered(model, prepared, 1)
        with watch.time("journal"):
            journal.add(scored)
        with watch.time("output"):
            sink.add(answers.said(spec, scored.rows, "1"))
        rows += len(chunk.table)
    with watch.time("output"):
        sink.finish()
    journal.close()
    engine.dispose()
    watch.seconds["features and look-ups"] -= watch.seconds["decode and check"]
    return {name: seconds / rows * 1e6 for name, seconds in watch.seconds.items()}


if __name__ == "__main__":
    print(json.dumps(stages(Path(sys.argv[1]))))
