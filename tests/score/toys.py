"""Toy problems of each task with models that look at their inputs, a table of events, and look-ups in a store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from core import online
from core.runtime import Contract, OnnxModel, write_bundle
from core.task import of
from pipeline.candidates import fit
from pipeline.features import inputs
from pipeline.score import answers
from pipeline.score.decode import Dialect
from pipeline.score.journal import Journal
from pipeline.score.run import Job, Tally, run
from pipeline.score.source import CHUNK, Source
from tests import toy
from tests.serving.toys import Toy

START = pd.Timestamp("2013-04-10")
HOURS = 40


def problem(task: str, **columns: Any) -> Toy:
    return Toy(toy.spec(task=task, **columns))


def bundle(made: Toy, folder: Path, candidate: str = "hgb") -> Path:
    """A small model, fitted to the toy's table."""
    spec, frame = made.spec, toy.frame(task=made.spec.task)
    X, y = inputs(spec, frame), frame[spec.target].to_numpy(np.float64)
    graph = fit(candidate, spec, X, y, spec.candidates[candidate]).to_onnx()
    kinds = {name: feature.kind for name, feature in spec.features.items()}
    seen = {name: sorted(set(X[name].tolist())) for name, kind in kinds.items() if kind == "category"}
    contract = Contract(
        problem=spec.name, task=spec.task, target=spec.target, classes=spec.classes, features=kinds, categories=seen
    )
    write_bundle(folder, graph, contract, of(spec), {name: column[:5] for name, column in X.items()})
    return folder


def events(n: int = 3000, seed: int = 0) -> pd.DataFrame:
    """One row an event, in the order of time; of some the size or the kind is missing. Clocks differ."""
    rng = np.random.default_rng(seed)
    at = START + pd.to_timedelta(np.sort(rng.integers(0, HOURS * 3600, n)), unit="s")
    size = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0, 100, n).round(2))
    kind = rng.choice(np.array(["red", "green", "blue", "größer", None], object), n)
    return pd.DataFrame(
        {
            "id": [f"e{i}" for i in range(n)],
            "who": rng.choice(["a", "b", "c", "d", "nobody"], n),
            "at": pd.Series(at).dt.as_unit("s"),
            "at_utc_offset": rng.choice([-240.0, 0.0, 330.0], n),
            "size": size,
            "kind": kind,
        }
    )


def rain(engine: Engine, seed: int = 1) -> None:
    """The look-up, hourly for each but nobody, with gaps."""
    rng = np.random.default_rng(seed)
    hours = [int((START + pd.Timedelta(hours=int(h))).timestamp()) for h in range(-3, HOURS)]
    rows = [
        {"key": who, "available_at": at, "values": {"rain": float(rng.exponential())}} for at in hours for who in "abcd"
    ]
    online.write(engine, "toy", "weather", [row for row in rows if rng.random() < 0.6])


@dataclass(frozen=True)
class Batch:
    """Runs a batch without a registry."""

    problem: Toy
    bundle: Path
    engine: Engine
    folder: Path

    def score(self, source: Source, output: str = "scores.parquet", **dialect: Any) -> Tally:
        path = self.folder / output
        header = {"now": int(START.timestamp()), "lookups": online.newest(self.engine, "toy"), "chunk": CHUNK}
        journal = Journal(path.with_name(f"{path.name}.progress"), answers.raw_schema(answers.width(self.problem.spec)))
        if journal.header() is None:
            journal.begin(header)
        model = OnnxModel.load(self.bundle, self.problem.spec)
        job = Job(self.problem, source, path, "1", model, self.engine, Dialect(**dialect), header)
        return run(job, journal, lambda _: None)

    def output(self, name: str = "scores.parquet") -> pd.DataFrame:
        path = self.folder / name
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, float_precision="round_trip")
