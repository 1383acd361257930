"""Tables that are unlike each other become problems that the loop's own stages take as they are."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.schema import ProblemSpec
from core.scored import Trivial
from pipeline import evaluate, features, raw, validate
from pipeline.onboarding.plan import Plan
from pipeline.train import train
from problems import Problem, load
from tests.onboarding import unlike
from tests.onboarding.conftest import Init


@dataclass(frozen=True)
class Case:
    write: Callable[[Path], Path | str]
    target: str
    task: str
    options: dict[str, Any] = field(default_factory=dict)
    batches: bool = True


CASES = {
    "sorted by a text target": Case(unlike.affairs, "Had an affair?", "binary"),
    "wide": Case(unlike.tumours, "target", "binary"),
    "names in three scripts": Case(unlike.cars, "Miles_per_Gallon", "regression"),
    "one row a day": Case(unlike.seattle, "weather", "multiclass", {"time": "date"}),
    "narrow": Case(unlike.hours, "temp", "regression", batches=False),
    "missing-heavy, in SQL": Case(unlike.airports, "temp", "regression", {"time": "time_hour"}, batches=False),
    "high-cardinality, a folder": Case(unlike.flights, "late", "binary", {"time": "time_hour"}, batches=False),
    "outliers": Case(unlike.visits, "mdvis", "regression"),
    "imbalanced": Case(unlike.visits, "hlthp", "binary"),
    "small whole numbers": Case(unlike.votes, "PID", "multiclass"),
    "whole groups": Case(unlike.countries, "lifeExp", "regression", {"group": "country"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_table_becomes_a_problem_that_trains_without_an_edit(
    name: str, init: Init, folder: Path, tmp_path: Path
) -> None:
    case = CASES[name]
    plan = init(case.write(tmp_path), case.target, **case.options)
    problem = load(plan.name)
    assert (problem.spec.task, plan.arrangement.batch is not None) == (case.task, case.batches)
    first = plan.rhythm.demo_first - pd.Timedelta(days=3 * plan.rhythm.holdout)
    days = [day for day in sorted(plan.arrangement.days.all) if day >= first]
    partitions = {str(day): problem.data.partition(day) for day in days if problem.data.covers(day)}
    assert len(partitions) == len(days)
    assert [reasons for reasons in validate.check(problem.spec, partitions).values() if reasons] == []
    frame = features.table(problem, together(partitions))
    no_number_is_infinite_and_missing_ones_were_announced(problem, frame)
    a_light_candidate_trains_and_is_judged(problem.spec, plan, frame, tmp_path)
    assert subprocess.run(["ruff", "check", "--isolated", *RULES, folder], check=False).returncode == 0
    assert subprocess.run(["ruff", "format", "--isolated", *LENGTH, "--check", folder], check=False).returncode == 0


LENGTH = ["--line-length", "120", "--target-version", "py311"]
RULES = [*LENGTH, "--select", "E,F,I,B,UP,SIM,C4,N,RUF", "--ignore", "RUF001,RUF002,RUF003"]


def together(partitions: raw.Partitions) -> dict[str, pd.DataFrame]:
    parts = {day: {name: rows.assign(partition=day) for name, rows in t.items()} for day, t in partitions.items()}
    return {n: pd.concat([t[n] for t in parts.values()], ignore_index=True) for n in (raw.EVENTS, raw.LABELS)}


def no_number_is_infinite_and_missing_ones_were_announced(problem: Problem, frame: pd.DataFrame) -> None:
    for name, feature in problem.spec.features.items():
        if feature.kind == "number":
            assert not np.isinf(frame[name]).any(), name
            column = problem.spec.columns.get(name)
            assert column is None or column.optional or frame[name].notna().all(), name


def a_light_candidate_trains_and_is_judged(spec: ProblemSpec, plan: Plan, frame: pd.DataFrame, folder: Path) -> None:
    """Its graph agrees with it, and the gate's metric can be computed on the holdout."""
    light = next(iter(spec.candidates))
    held_out = features.holdout_rows(spec, frame, plan.rhythm.demo_first)
    rows = features.training_rows(frame, features.holdout_start(spec, plan.rhythm.demo_first))
    done = train(spec, light, rows, held_out, folder / light)
    assert done.facts["refused"] is None
    trivial = Trivial.of(spec, rows[spec.target].to_numpy())
    comparison, _ = evaluate.evaluate(spec, held_out, trivial, {light: folder / light})
    assert comparison["winner"] == light
    assert comparison["metrics"][light][spec.gate.metric] is not None
