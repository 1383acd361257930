"""Stages `train` and `refit`: fit one candidate, turn it into an ONNX bundle, and check that the graph agrees.

`train` sees the rows before the holdout; `refit` fits the winner on everything known. A graph that does not give the
original's predictions on held-out rows is refused by name and reason. Which candidate wins is not decided here.
"""

import json
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import logs
from core.columns import Columns
from core.config import params
from core.errors import ModelRefused
from core.runtime import MODEL, Contract, OnnxModel, open_session, write_bundle
from core.schema import Kind, ProblemSpec
from core.scored import Trivial, judged
from core.task import of
from pipeline import candidates
from pipeline.features import DAY, ID, OUT, holdout_rows, holdout_start, inputs, training_rows
from problems import load

ROWS, FACTS, REFERENCE = "rows.npy", "training.json", "reference.parquet"
REFERENCE_ROWS = 5000
EXAMPLE_ROWS = 5
FOLDS = 3  # of days, for the reference's predictions
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A bundle's facts and what it cost."""

    facts: dict[str, Any]
    cost: dict[str, float]


def train(spec: ProblemSpec, name: str, rows: pd.DataFrame, held_out: pd.DataFrame, folder: Path) -> Trained:
    """Fit candidate `name` on `rows`, write its bundle to `folder`; `held_out` rows serve the parity check only.

    Facts hold `refused`: None, or why the candidate may not be used.
    """
    facts, started = _facts(spec, name, rows), time.perf_counter()
    folder.mkdir(parents=True)
    try:
        fitted = candidates.fit(name, spec, inputs(spec, rows), _target(spec, rows), spec.candidates[name])
        cost = {"fit_s": time.perf_counter() - started}
        facts |= {"device": fitted.device, "parity": _bundled(spec, fitted, rows, held_out, folder)}
        cost |= latency(spec, folder)
    except ModelRefused as reason:
        facts["refused"] = str(reason)
        cost = {"fit_s": time.perf_counter() - started}
        log.warning("candidate %s is refused: %s", name, reason)
    np.save(folder / ROWS, row_hashes(rows[ID]))
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    return Trained(facts, cost)


def parity(spec: ProblemSpec, model: OnnxModel, original: np.ndarray, X: Columns, scale: float) -> float:
    """Largest |original - graph| over the rows, in the unit `scale`; raise ModelRefused when it is too large or NaN.

    A prediction that lies many such units away from the others may differ in proportion: float32 has seven digits.
    """
    away = np.maximum(1.0, np.abs(original - np.median(original)) / scale)
    off = float((np.abs(model.predict(X) - original) / scale / away).max())
    if not np.isfinite(original).all():
        raise ModelRefused("it predicts NaN or infinity on held-out rows")
    if not off <= spec.gate.parity_max:
        raise ModelRefused(f"its ONNX graph differs from the original by {off:.2g} (allowed: {spec.gate.parity_max:g})")
    return off


def latency(spec: ProblemSpec, folder: Path, rounds: int = 5, repeats: int = 200) -> dict[str, float]:
    """One row through the graph, milliseconds: median and 99th percentile; and the graph's size in bytes.

    Of the quietest round: what else the machine does can only add.
    """
    model = OnnxModel.load(folder, spec)
    row = {name: np.array(values[:1]) for name, values in model.example.inputs.items()}
    p50, p99 = min((_percentiles(model, row, repeats) for _ in range(rounds)), key=lambda found: found[1])
    return {"p50_ms": p50, "p99_ms": p99, "bytes": (folder / MODEL).stat().st_size}


def _percentiles(model: OnnxModel, row: Columns, repeats: int) -> tuple[float, float]:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        model.predict(row)
        taken.append((time.perf_counter() - started) * 1000)
    p50, p99 = np.percentile(taken, [50, 99])
    return float(p50), float(p99)


def contract(spec: ProblemSpec, X: Columns, embedding: int = 0) -> Contract:
    """The contract of a graph trained on X; `embedding`: width of its second output."""
    kinds = {name: feature.kind for name, feature in spec.features.items()}
    return Contract(
        problem=spec.name,
        task=spec.task,
        target=spec.target,
        classes=spec.classes,
        features=kinds,
        categories={name: sorted(set(X[name].tolist())) for name, kind in kinds.items() if kind == "category"},
        embedding=embedding,
        background=None if "array" in kinds.values() else {name: typical(X[name], kinds[name]) for name in kinds},
    )


def typical(values: np.ndarray, kind: Kind) -> float | str | None:
    """The median of the numbers that are there; the most frequent category, of several the first. None: no number."""
    if kind == "category":
        names, counts = np.unique(values.astype(str), return_counts=True)
        return str(names[counts.argmax()])
    there = values[~np.isnan(values)]
    return float(np.median(there)) if len(there) else None


def row_hashes(ids: pd.Series) -> np.ndarray:
    """A sorted 64-bit hash of each row's id: what a model was trained on, so that it is never judged on it."""
    hashes: np.ndarray = np.sort(pd.util.hash_array(ids.to_numpy(object), categorize=False))
    return hashes


def reference(spec: ProblemSpec, name: str, rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A sample of the training rows, scored (core.scored): what live traffic is compared with.

    Its embedding is the model's; its predictions are those of fits that had not seen the row. A model is surer of rows
    that it was fitted on, and beside those unchanged live traffic looks shifted.
    """
    sample = rows.sample(min(REFERENCE_ROWS, len(rows)), random_state=candidates.SEED).sort_index()
    own, embedding = OnnxModel.load(folder, spec).predict_and_embed(inputs(spec, sample))
    try:
        prediction = cross_fitted(spec, name, rows, sample.index.to_numpy())
    except ModelRefused as reason:
        log.warning("the reference has the model's own predictions: without a third of the days %s", reason)
        prediction = own
    scored = judged(spec, prediction, _target(spec, sample), Trivial.of(spec, _target(spec, rows)))
    return sample[list(spec.watched)].reset_index(drop=True).assign(**embedding, **scored)


def cross_fitted(spec: ProblemSpec, name: str, rows: pd.DataFrame, chosen: np.ndarray) -> np.ndarray:
    """Predictions of the rows at positions `chosen`, each by a fit on the days of the other folds."""
    X, y, fold = inputs(spec, rows), _target(spec, rows), pd.factorize(rows[DAY])[0] % FOLDS
    out: dict[int, Any] = {}
    for one in range(FOLDS):
        others, mine = fold != one, chosen[fold[chosen] == one]
        fitted = candidates.fit(name, spec, _take(X, others), y[others], spec.candidates[name])
        out |= dict(zip(mine.tolist(), fitted.predict(_take(X, mine)), strict=True))
    return np.array([out[row] for row in chosen.tolist()])


def _take(X: Columns, rows: np.ndarray) -> Columns:
    return {name: values[rows] for name, values in X.items()}


def _bundled(
    spec: ProblemSpec, fitted: candidates.Fitted, rows: pd.DataFrame, held_out: pd.DataFrame, folder: Path
) -> float:
    """Write the bundle of a graph that agrees with the original; returns by how much they differ."""
    X, graph = inputs(spec, held_out), fitted.to_onnx()
    agreed = contract(spec, inputs(spec, rows), fitted.embedding)
    model = OnnxModel(open_session(graph), agreed, of(spec))
    off = parity(spec, model, fitted.predict(X), X, Trivial.of(spec, _target(spec, rows)).scale)
    write_bundle(folder, graph, agreed, of(spec), {name: values[:EXAMPLE_ROWS] for name, values in X.items()})
    return off


def _target(spec: ProblemSpec, rows: pd.DataFrame) -> np.ndarray:
    return rows[spec.target].to_numpy(np.float64)


def _facts(spec: ProblemSpec, name: str, rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "candidate": name,
        "options": spec.candidates[name],
        "rows": len(rows),
        "first_day": str(rows[DAY].min().date()),
        "last_day": str(rows[DAY].max().date()),
        "trivial": Trivial.of(spec, _target(spec, rows)).model_dump(),
        "device": None,
        "parity": None,
        "refused": None,
    }


def run(name: str) -> None:
    given = params()
    spec = load(given.problem).spec
    frame = pd.read_parquet(OUT)
    rows = training_rows(frame, holdout_start(spec, given.as_of))
    done = train(spec, name, rows, holdout_rows(spec, frame, given.as_of), Path("models", name))
    Path("timings").mkdir(exist_ok=True)
    Path("timings", f"{name}.json").write_text(json.dumps(done.cost))
    log.info("%s: %d rows, fitted in %.1f s", name, len(rows), done.cost["fit_s"])


def refit() -> None:
    """Fit the winner on everything that is known, check it again, and keep a sample as the monitor's reference."""
    given = params()
    spec = load(given.problem).spec
    frame, folder = pd.read_parquet(OUT), Path("refit")
    winner = json.loads(Path("evaluation/metrics.json").read_text())["winner"]
    rows = training_rows(frame, given.as_of)
    done = train(spec, winner, rows, holdout_rows(spec, frame, given.as_of), folder)
    if done.facts["refused"] is None:
        reference(spec, winner, rows, folder).to_parquet(folder / REFERENCE, index=False)


if __name__ == "__main__":
    logs.configure()
    if sys.argv[1] == "--refit":
        refit()
    else:
        run(sys.argv[1])
