"""A table's predictions are those that the server answers for the same rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.columns import to_rows
from pipeline.score.source import Files
from tests.score.conftest import Make
from tests.score.toys import Batch, events
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Any]:
    """What the server answers to the rows of a table."""
    opened: list[Any] = []

    def ask(batch: Batch, frame: pd.DataFrame) -> list[dict[str, Any]]:
        registry = FakeRegistry("toy")
        registry.register("1", batch.bundle)
        registry.release("1")
        server = ServerHere(tmp_path / "home", registry.url, batch.problem)
        opened.extend([registry, server])
        server.ready()
        answer = server.post("/predict/batch", {"rows": to_rows(batch.problem.spec, frame)})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["predictions"])

    yield ask
    for thing in reversed(opened):
        thing.close() if isinstance(thing, FakeRegistry) else thing.kill()


def flat(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as the table's columns."""
    said = {n: answer[n] for n in ("label", "probability", "value") if n in answer}
    said |= {f"probabilities_{name}": p for name, p in answer.get("probabilities", {}).items()}
    return {"id": answer["event_id"], **said, "model_version": answer["model_version"]}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_table_gets_what_the_server_answers_row_by_row(task: str, batch: Make, answered: Any, tmp_path: Path) -> None:
    frame, toy = events(), batch(task)
    frame.to_parquet(tmp_path / "events.parquet")
    wanted = pd.DataFrame([flat(answer) for answer in answered(toy, frame)])
    tally = toy.score(Files(str(tmp_path / "events.parquet")))
    found = toy.output().astype({"model_version": "object"})
    assert (tally.scored, tally.rejected) == (len(frame), 0)
    assert found.columns.tolist() == wanted.columns.tolist()
    for name in wanted:
        if wanted[name].dtype == np.float64:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
        else:
            assert found[name].astype("object").tolist() == wanted[name].tolist(), name
    number = next(name for name in wanted if wanted[name].dtype == np.float64)
    assert found[number].nunique() > 100, "the models look at their inputs"
    assert 0 < tally.missing["weather"] < len(frame)
