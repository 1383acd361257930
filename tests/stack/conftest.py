"""A stack of stand-ins in a temporary home, on free ports, always stopped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import Settings
from pipeline.stack.ports import any_free
from pipeline.stack.stack import Plan, Stack
from tests.stack.standins import MakeStack


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.stack.stack.LOOK_EVERY_S", 0.05)
    airflow, mlflow, serving = any_free(), any_free(), any_free()
    return Settings(home=tmp_path / "home", airflow_port=airflow, mlflow_port=mlflow, serving_port=serving)


@pytest.fixture
def make_stack(settings: Settings) -> Iterator[MakeStack]:
    made: list[Stack] = []

    def make(plan: Plan) -> Stack:
        made.append(Stack(settings, plan))
        return made[-1]

    yield make
    for stack in made:
        stack.stop()
