"""What a life cycle made, as MLflow takes it and as the gate sees it; and a champion that cannot be compared."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils.validation import _validate_metric_name

from core.errors import LoopError
from core.releases import Release
from core.schema import ProblemSpec
from pipeline.features import inputs
from pipeline.results import _champion, flat, legal
from pipeline.train import ROWS
from tests.serving.models import bundle
from tests.toy import frame, spec

VALUES = [
    "red",
    "EWR",
    "São Paulo",
    "a/b",
    "a:b",
    "a_b",
    "",
    ".",
    "..",
    "/",
    "50 %",
    "x" * 300,
    "x" * 299,
    "0.5",
    "日本",
    " ",
]


def test_any_slice_and_any_value_makes_a_legal_metric_name_of_its_own() -> None:
    slices = {f"{column}={value}": {"rows": 1.0} for column in ("kind", "a kind/of ünit") for value in VALUES}
    names = flat({}, slices)
    assert len(names) == len(slices)
    for name in names:
        _validate_metric_name(name)
        assert len(name) <= 250


def test_plain_names_stay_as_they_are() -> None:
    slices: dict[str, dict[str, Any]] = {"origin=EWR": {"rows": 9, "roc_auc": 0.7}}
    described: dict[str, dict[str, float | None]] = {"mae": {"value": 1.0, "low": 0.5, "high": None}}
    assert flat(described, slices) == {
        "mae": 1.0,
        "mae_low": 0.5,
        "slice/origin/EWR/rows": 9,
        "slice/origin/EWR/roc_auc": 0.7,
    }
    assert [legal(text) for text in ("EWR", "0.5", "a-b c_d")] == ["EWR", "0.5", "a-b c_d"]


def test_what_must_change_does_not_become_another_name() -> None:
    assert all(legal(a) != legal(b) for a, b in itertools.combinations(VALUES, 2))


def test_mlflow_takes_them(mlflow_url: str) -> None:
    client = MlflowClient(mlflow_url)
    run = client.create_run(client.create_experiment("names of metrics")).info.run_id
    names = flat({}, {f"kind={value}": {"rows": 1.0} for value in VALUES})
    client.log_batch(run, [Metric(name, value, 0, 0) for name, value in names.items()])
    assert client.get_run(run).data.metrics == names


# the champion ---------------------------------------------------------------------------------------------------------


class OneChampion:
    """What is asked of core.registry.Registry."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def release(self) -> Release:
        return Release(None if self.folder is None else "7", None)

    def download(self, version: str, path: str, folder: Path) -> Path:
        assert self.folder is not None
        return self.folder


def of_champion(made: ProblemSpec, now: ProblemSpec, folder: Path, prediction: Any = 0.25) -> dict[str, Any]:
    registry = OneChampion(bundle(made, folder / "champion", prediction))
    np.save(folder / "champion" / ROWS, np.array([1, 2], np.uint64))
    return _champion(registry, now, inputs(now, frame(days=2)), folder)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "prediction"), [("binary", 0.25), ("multiclass", [0.2, 0.5, 0.3]), ("regression", 9.0)]
)
def test_the_champion_is_asked_about_the_holdout(task: str, prediction: Any, tmp_path: Path) -> None:
    found = of_champion(spec(task=task), spec(task=task), tmp_path, prediction)
    assert found["champion"].shape == ((500, 3) if task == "multiclass" else (500,))
    assert found["champion_trained_on"].tolist() == [1, 2]


def test_before_the_first_champion_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    assert _champion(OneChampion(None), spec(), {}, tmp_path) == {}  # type: ignore[arg-type]


def test_a_champion_of_another_task_or_of_other_classes_cannot_be_compared_and_says_what_to_do(tmp_path: Path) -> None:
    other = spec(task="multiclass").model_copy(update={"classes": ["a", "b", "c"]})
    for n, now in enumerate((spec(task="regression"), other)):
        made = spec() if n == 0 else spec(task="multiclass")
        with pytest.raises(LoopError, match=r"champion 7 does not load \(it was made for .*loop promote VERSION"):
            of_champion(made, now, tmp_path / str(n), 0.25 if n == 0 else [0.2, 0.5, 0.3])


def test_a_champion_that_needs_a_feature_that_is_gone_cannot_be_compared(tmp_path: Path) -> None:
    fewer = spec().model_copy(update={"features": {n: f for n, f in spec().features.items() if n != "rain"}})
    with pytest.raises(LoopError, match=r"champion 7 needs features that are no longer made \(rain\)"):
        of_champion(spec(), fewer, tmp_path)
