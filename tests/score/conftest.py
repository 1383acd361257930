"""A batch of each task, with a store that holds its look-ups."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.database import connect
from tests.score.toys import Batch, bundle, problem, rain

Make = Callable[..., Batch]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("batch-models")
    return {task: bundle(problem(task), folder / task) for task in ("binary", "multiclass", "regression")}


@pytest.fixture
def batch(tmp_path: Path, bundles: dict[str, Path]) -> Iterator[Make]:
    """Make a batch of a task; its store is the one that a server with the home tmp_path/home reads."""
    (tmp_path / "home").mkdir(exist_ok=True)
    engine = connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}")
    rain(engine)

    def make(task: str = "binary", **columns: object) -> Batch:
        return Batch(problem(task, **columns), bundles[task], engine, tmp_path)

    yield make
    engine.dispose()
