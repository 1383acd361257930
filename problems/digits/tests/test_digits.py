"""The digits: a shuffled arrival without leaks, features that say what they mean, a switch that changes the world."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.columns import from_frame
from core.errors import DataError
from core.runtime import OnnxModel, open_session
from core.task import of
from pipeline import candidates, raw
from pipeline.features import inputs, table
from pipeline.train import contract, parity, reference, train
from pipeline.validate import check
from problems import load
from problems.digits import data
from problems.digits.features import SIDE, features, statistics

PROBLEM = load("digits")
SPEC = PROBLEM.spec
LAST = date(2024, 2, 19)
CHANGE = {"from": "2024-01-02", "rotation_deg": 30, "noise": 0.1}


def with_change(monkeypatch: pytest.MonkeyPatch, change: Mapping[str, Any]) -> None:
    monkeypatch.setattr(data, "_change", lambda: change)


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    with_change(monkeypatch, {})


def tables(days: int) -> dict[str, pd.DataFrame]:
    dates = [data.FIRST_DAY + timedelta(days=i) for i in range(days)]
    parts = [{n: f.assign(partition=day) for n, f in data.partition(day).items()} for day in dates]
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


# data -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchanged")
def test_every_digit_arrives_once_in_fifty_batches_of_a_hundred() -> None:
    everything = tables(50)
    assert data.covers(LAST)
    assert not data.covers(LAST + timedelta(days=1))
    assert SPEC.clock.latest == LAST + timedelta(days=1)
    assert everything["events"].groupby("partition").size().tolist() == [100] * 50
    assert everything["events"]["digit_id"].is_unique
    assert everything["labels"]["digit"].value_counts().to_dict() == dict.fromkeys(SPEC.classes, 500)
    assert len({pixels.tobytes() for pixels in everything["events"]["pixels"]}) == 5000, "a copy in the holdout leaks"


@pytest.mark.usefixtures("unchanged")
def test_neither_the_order_nor_the_id_tells_the_digit() -> None:
    """The file is sorted by class."""
    labels = tables(50)["labels"]
    digits = labels["digit"].astype(int).to_numpy()
    assert labels.groupby("partition")["digit"].nunique().min() >= 9
    assert abs(np.corrcoef(digits[:-1], digits[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(labels["digit_id"].str[-4:].astype(int), digits)[0, 1]) < 0.05


@pytest.mark.usefixtures("unchanged")
def test_good_partitions_pass_the_loops_own_validation() -> None:
    days = [data.FIRST_DAY + timedelta(days=i) for i in range(3)]
    assert check(SPEC, {str(day): data.partition(day) for day in days}) == {str(day): [] for day in days}


def test_a_day_outside_names_the_days_there_are() -> None:
    with pytest.raises(DataError, match=r"no 2024-03-01; it has every day from 2024-01-01 to 2024-02-19"):
        data.partition(date(2024, 3, 1))


def test_the_switch_changes_images_from_its_day_on_and_always_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    with_change(monkeypatch, {})
    before = tables(2)["events"]["pixels"]
    with_change(monkeypatch, CHANGE)
    after, again = tables(2)["events"]["pixels"], tables(2)["events"]["pixels"]
    assert all(np.array_equal(a, b) for a, b in zip(before[:100], after[:100], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(before[100:], after[100:], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(after, again, strict=True))
    assert {image.dtype for image in after} == {np.dtype(np.uint8)}


def test_a_rotation_turns_counter_clockwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upright bar falls to the left: its top moves left for each pixel upwards."""
    bar = np.zeros((1, SIDE, SIDE), np.uint8)
    bar[0, 4:24, 13:15] = 255
    turned = data._changed(bar.reshape(1, -1), data.Change(data.FIRST_DAY, rotation_deg=30), 0) / 255
    assert statistics(turned)["slant"][0] == pytest.approx(-np.tan(np.radians(30)), abs=0.05)


def test_a_misspelt_switch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with_change(monkeypatch, {"from": "2024-01-02", "rotate": 30})
    with pytest.raises(DataError, match="knows rotation_deg and noise; look at rotate"):
        data.partition(data.FIRST_DAY)


def test_the_demos_switch_lies_within_the_demo() -> None:
    assert SPEC.demo is not None
    change = data.Change.of(SPEC.demo.change)
    assert change is not None
    quiet, changed = (change.day - SPEC.demo.first_day).days, SPEC.demo.days - (change.day - SPEC.demo.first_day).days
    assert quiet >= SPEC.monitor.window_days
    assert changed >= SPEC.monitor.window_days
    assert data.covers(SPEC.demo.first_day + timedelta(days=SPEC.demo.days))


# features -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("unchanged")
def test_the_models_see_the_image_from_0_to_1_and_the_monitor_its_statistics() -> None:
    made = table(PROBLEM, tables(2))
    assert list(SPEC.features) == ["image"]
    image = inputs(SPEC, made)["image"]
    assert (image.shape, image.dtype, image.min(), image.max()) == ((200, 784), np.float32, 0, 1)
    assert not made[SPEC.monitor.statistics].isna().any(axis=None)
    np.testing.assert_allclose(made["ink"], image.mean(axis=1), rtol=1e-6)


def test_the_statistics_of_a_dot_are_its_place() -> None:
    dot = np.zeros((1, SIDE, SIDE), np.float32)
    dot[0, 20, 5] = 1.0
    found = {name: float(values[0]) for name, values in statistics(dot.reshape(1, -1)).items()}
    assert (found["centre_x"], found["centre_y"]) == (pytest.approx(-8.5, abs=1e-3), pytest.approx(6.5, abs=1e-3))
    assert found["spread"] == pytest.approx(0, abs=0.02)


def test_an_empty_image_has_statistics_too() -> None:
    found = statistics(np.zeros((2, SIDE * SIDE), np.float32))
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.usefixtures("unchanged")
def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    columns = from_frame(SPEC, data.partition(data.FIRST_DAY)[raw.EVENTS])
    whole = features(columns)
    alone = features({name: values[3:4] for name, values in columns.items()})
    for name in ("image", *SPEC.monitor.statistics):
        np.testing.assert_allclose(alone[name], whole[name][3:4], rtol=1e-5, atol=1e-6, err_msg=name)


# models ---------------------------------------------------------------------------------------------------------------

SHORT: dict[str, dict[str, Any]] = {
    "forest": {"n_estimators": 30},
    "mlp": {"hidden": [32], "epochs": 10},
    "cnn": {"channels": 8, "hidden": 32, "epochs": 8, "batch": 32, "learning_rate": 0.003},
}


@pytest.fixture(scope="module")
def few() -> pd.DataFrame:
    patched = pytest.MonkeyPatch()
    with_change(patched, {})
    try:
        return table(PROBLEM, tables(8))
    finally:
        patched.undo()


@pytest.mark.parametrize("name", list(SPEC.candidates))
def test_every_candidate_reads_most_digits_after_seven_hundred(name: str, few: pd.DataFrame) -> None:
    X, y = inputs(SPEC, few), few["digit"].to_numpy()
    rows, held_out = ({"image": X["image"][part]} for part in (slice(700), slice(700, None)))
    fitted = candidates.fit(name, SPEC, rows, y[:700], SPEC.candidates[name] | SHORT.get(name, {}))
    model = OnnxModel(open_session(fitted.to_onnx()), contract(SPEC, rows, fitted.embedding), of(SPEC))
    assert parity(SPEC, model, fitted.predict(held_out), held_out, 1.0) < SPEC.gate.parity_max
    predictions, embedding = model.predict_and_embed(held_out)
    assert (predictions.argmax(axis=1) == y[700:]).mean() > 0.75
    assert len(embedding) == (8 if name in ("mlp", "cnn") else 0)


def test_the_monitors_reference_holds_the_statistics_and_the_embedding(few: pd.DataFrame, tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"candidates": {"mlp": {"hidden": [16], "epochs": 1}}})
    train(spec, "mlp", few[:700], few[700:], tmp_path / "mlp")
    sample = reference(spec, "mlp", few[:700], tmp_path / "mlp")
    judged = ["prediction", "label", "residual", "loss", "baseline_loss"]
    assert list(sample) == [*SPEC.monitor.statistics, *(f"embedding_{i}" for i in range(8)), *judged]
    assert sample[SPEC.monitor.statistics].notna().all(axis=None)
