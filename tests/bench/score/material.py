"""What the benchmark scores: real flights drawn again and again under new ids, in the order of time within each row
group; the `hgb` candidate trained on the same weeks; their look-ups in a store. Parquet, and a part of it as CSV."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

import problems
from core.columns import to_rows
from core.database import connect
from core.runtime import OnnxModel, write_bundle
from core.task import of
from pipeline import candidates, publish
from pipeline.features import inputs, lookup_frames, table
from pipeline.raw import EVENTS, PARTITION
from pipeline.score.decode import Decoder, Dialect
from pipeline.score.lookback import Lookback
from pipeline.score.prepare import Preparer
from pipeline.score.source import Files
from pipeline.train import contract
from problems import Problem

PROBLEM, FIRST, DAYS, WARM_DAYS = "flights", date(2013, 1, 1), 42, 10
GROUP = 1 << 18  # rows of a row group
CSV_ROWS, READY_ROWS = 1 << 19, 1 << 19


@dataclass(frozen=True)
class Material:
    """`ready`: the features of the table's first rows, one array an input, for onnxruntime alone."""

    folder: Path
    rows: int
    bundle: Path
    parquet: Path
    csv: Path
    ready: Path


def make(folder: Path, rows: int) -> Material:
    problem = problems.load(PROBLEM)
    tables = _tables(problem)
    found = Material(folder, rows, *(folder / name for name in ("bundle", "in.parquet", "in.csv", "ready.npz")))
    _train(problem, tables, found.bundle)
    (folder / "home").mkdir()
    engine = connect(f"sqlite:///{folder / 'home' / 'loop.db'}")
    for name, frame in lookup_frames(problem, tables).items():
        publish.write(engine, problem, name, frame)
    _write_table(tables[EVENTS].drop(columns=PARTITION), found)
    _write_csv(problem, found)
    source, model = Files(str(found.parquet)), OnnxModel.load(found.bundle, problem.spec)
    decoder = Decoder(problem.spec, source.names(), Dialect(), np.datetime64("now", "s"))
    preparer = Preparer(problem, model, decoder, Lookback(engine, problem.spec, upto=1 << 40))
    chunks = source.chunks(decoder.names, decoder.texts)
    some = [preparer.prepare(chunk).inputs for chunk in islice(chunks, READY_ROWS >> 14)]  # of 2^14 rows or fewer
    np.savez(found.ready, **{name: np.concatenate([one[name] for one in some]) for name in some[0]})
    engine.dispose()
    return found


def _tables(problem: Problem) -> dict[str, pd.DataFrame]:
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    parts = [{n: f.assign(**{PARTITION: day}) for n, f in problem.data.partition(day).items()} for day in days]
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def _train(problem: Problem, tables: dict[str, pd.DataFrame], folder: Path) -> None:
    spec, known = problem.spec, table(problem, tables)
    X, y = inputs(spec, known), known[spec.target].to_numpy(np.float64)
    fitted = candidates.fit("hgb", spec, X, y, spec.candidates["hgb"])
    write_bundle(folder, fitted.to_onnx(), contract(spec, X), of(spec), {n: values[:5] for n, values in X.items()})


def _write_table(events: pd.DataFrame, found: Material) -> None:
    """Of days that have every look-up."""
    late = events[events["sched_dep"] >= pd.Timestamp(FIRST + timedelta(days=WARM_DAYS))]
    rng = np.random.default_rng(0)
    schema = pa.Schema.from_pandas(late, preserve_index=False)
    with pq.ParquetWriter(found.parquet, schema) as writer:
        for start in range(0, found.rows, GROUP):
            n = min(GROUP, found.rows - start)
            drawn = late.iloc[np.sort(rng.integers(0, len(late), n))]
            ids = drawn["flight_id"] + "-" + pd.Series(np.arange(start, start + n), drawn.index).astype("str")
            writer.write_table(pa.Table.from_pandas(drawn.assign(flight_id=ids), schema, preserve_index=False))


def _write_csv(problem: Problem, found: Material) -> None:
    """The table's first rows, moments as ISO 8601."""
    frame = pq.ParquetFile(found.parquet).read_row_group(0).to_pandas().head(CSV_ROWS)
    pa_csv.write_csv(pa.Table.from_pylist(to_rows(problem.spec, frame)), found.csv)
