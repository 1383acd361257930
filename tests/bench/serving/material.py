"""What the benchmark serves and asks: a model trained on five weeks of real flights, its look-ups, requests of a day.

The same pipeline twice: as the ONNX bundle that our server takes, and as scikit-learn's, for `mlflow models serve`.
"""

import json
import logging
import warnings
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import problems
from core.clock import cutoff
from core.columns import Columns, to_rows
from core.database import connect
from core.runtime import write_bundle
from core.task import of
from pipeline import candidates, publish
from pipeline.candidates.sklearn_model import SklearnModel, matrix
from pipeline.features import DAY, ID, inputs, lookup_frames, table
from pipeline.raw import EVENTS, PARTITION
from pipeline.train import contract

PROBLEM, FIRST, AS_OF = "flights", date(2013, 1, 1), date(2013, 2, 6)


@dataclass(frozen=True)
class Material:
    """A bundle, a folder of MLflow's, and for both sides the requests of the same rows."""

    bundle: Path
    mlflow_model: Path
    rows: list[dict[str, Any]]  # our requests
    frames: list[dict[str, Any]]  # MLflow's requests
    inputs: Columns  # the models' inputs of these rows


def make(folder: Path, store_url: str) -> Material:
    """Train, write both models to `folder`, and fill the online store."""
    problem = problems.load(PROBLEM)
    spec, tables = problem.spec, _tables(problem)
    known = table(problem, tables)
    X, y = inputs(spec, known), known[spec.target].to_numpy(np.float64)
    fitted = candidates.fit("hgb", spec, X, y, spec.candidates["hgb"])
    example = {name: values[:5] for name, values in X.items()}
    write_bundle(folder / "bundle", fitted.to_onnx(), contract(spec, X), of(spec), example)
    assert isinstance(fitted, SklearnModel)
    _save_for_mlflow(fitted, matrix(spec, X), folder / "sklearn")
    _fill(store_url, problem, tables)
    asked = known[known[DAY] == pd.Timestamp(AS_OF)].reset_index(drop=True)
    events = tables[EVENTS].set_index(spec.id, drop=False).loc[asked[ID]]
    frame = matrix(spec, inputs(spec, asked))
    frames = [
        {"dataframe_split": json.loads(frame[i : i + 1].to_json(orient="split", double_precision=15))}
        for i in range(len(frame))
    ]
    return Material(folder / "bundle", folder / "sklearn", to_rows(spec, events), frames, inputs(spec, asked))


def _tables(problem: problems.Problem) -> dict[str, pd.DataFrame]:
    days = [FIRST + timedelta(days=i) for i in range((AS_OF - FIRST).days + 2)]
    parts = {day: problem.data.partition(day) for day in days}
    return {
        name: pd.concat([parts[day][name].assign(**{PARTITION: day}) for day in days], ignore_index=True)
        for name in parts[FIRST]
    }


def _fill(store_url: str, problem: problems.Problem, tables: dict[str, pd.DataFrame]) -> None:
    """The look-ups of the day that is asked about, and of the day before."""
    engine, clock = connect(store_url), problem.spec.clock
    since, until = cutoff(clock, AS_OF - timedelta(days=1)), cutoff(clock, AS_OF + timedelta(days=1))
    for name, frame in lookup_frames(problem, tables).items():
        publish.write(engine, problem, name, publish.between(frame, since, until))
    engine.dispose()


def _save_for_mlflow(fitted: SklearnModel, frame: pd.DataFrame, folder: Path) -> None:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns of pickles
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            fitted.pipeline,
            folder,
            serialization_format="cloudpickle",
            pyfunc_predict_fn="predict_proba",
            pip_requirements=[],
        )
