"""The one place a user edits: a folder a problem, with problem.yaml, data.py and features.py."""

import importlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

from core.config import params, read_yaml, settings
from core.errors import ConfigError
from core.schema import ProblemSpec

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Problem:
    """A problem's description and its two modules, imported when first used (the server never imports `data`).

    `features.features(columns) -> columns` derives columns, among them `prediction_time` and look-up keys.
    `data.covers(day) -> bool`: whether the source has that day. A source may have none on some days.
    `data.partition(day) -> {table: frame}`: what became known between the cut-offs of `day` and of the day after.
        `events`: the columns of problem.yaml, also those that a request may leave out; text as text, a datetime as UTC
        without a zone beside NAME_utc_offset (minutes), an array as one list a row. Each event once, on its own day.
        `labels`: id and target, as the source has it, of the events whose outcome became known. It may have no rows.
        Further tables, for look-ups. One that no day of a span has is not among the `tables` made of that span.
    `data.lookups(tables) -> {look-up: frame}`: key columns, `available_at` and values, from any span of partitions;
        only for a problem with look-ups.
    """

    spec: ProblemSpec

    @cached_property
    def data(self) -> ModuleType:
        return importlib.import_module(f"problems.{self.spec.name}.data")

    @cached_property
    def features(self) -> ModuleType:
        return importlib.import_module(f"problems.{self.spec.name}.features")


def competing(spec: ProblemSpec) -> list[str]:
    """The candidates that compete: those of params.yaml when it is about this problem, else all of problem.yaml's."""
    chosen = params(FOLDER.parent)
    asked = chosen.candidates if chosen.problem == spec.name else list(spec.candidates)
    if unknown := [name for name in asked if name not in spec.candidates]:
        raise ConfigError(
            f"params.yaml names candidates {', '.join(unknown)}; problems/{spec.name}/problem.yaml has "
            f"{', '.join(spec.candidates)}"
        )
    return asked


def names() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob("*/problem.yaml"))


def load(name: str | None = None) -> Problem:
    """Load a problem by name; without one, the one that the settings or params.yaml name."""
    name = name or settings().problem or params(FOLDER.parent).problem
    if name not in names():
        raise ConfigError(f"no problem {name!r} in {FOLDER}; there are: {', '.join(names())}")
    spec = read_yaml(FOLDER / name / "problem.yaml", ProblemSpec)
    if spec.name != name:
        raise ConfigError(f"problems/{name}/problem.yaml says name: {spec.name}; it must be the folder's name")
    return Problem(spec)
