"""A folder of problems of a test's own, in which generated problems are loaded like any other."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pytest

import problems
from pipeline.onboarding.onboard import onboard
from pipeline.onboarding.plan import Plan, Wishes

TODAY = date(2026, 11, 21)


class Init(Protocol):
    """`loop init`, with the options by name."""

    def __call__(self, data: Path | str, target: str, name: str = ..., force: bool = ..., **options: Any) -> Plan: ...


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stands for problems/: what is written into it is importable as problems.NAME while the test runs."""
    folder = tmp_path / "problems"
    folder.mkdir()
    monkeypatch.setattr(problems, "FOLDER", folder)
    monkeypatch.setattr(problems, "__path__", [str(folder), *problems.__path__])
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("problems."):  # Python keeps the modules that it has imported
            del sys.modules[name]


@pytest.fixture
def init(folder: Path) -> Init:
    def run(data: Path | str, target: str, name: str = "mine", force: bool = False, **options: Any) -> Plan:
        return onboard(Wishes(str(data), target, **options), name, TODAY, force)

    return run
