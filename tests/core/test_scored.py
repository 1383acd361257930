"""Scored frames: a prediction and how it turned out, for every task."""

import numpy as np
import pytest

from core.scored import Trivial, embedding, judged, statistics, watched
from tests import toy

NAN = float("nan")


def test_the_constant_of_each_task_and_the_unit_of_its_residuals() -> None:
    assert Trivial.of(toy.spec(), np.array([0.0, 1.0, 1.0, 1.0])) == Trivial(constant=0.75, scale=1.0)
    classes = Trivial.of(toy.spec(task="multiclass"), np.array([0.0, 2.0, 2.0, 2.0]))
    assert classes == Trivial(constant=[0.25, 0.0, 0.75], scale=1.0)
    values = np.array([1.0, 2.0, 9.0])
    assert Trivial.of(toy.spec(task="regression"), values) == Trivial(constant=2.0, scale=float(np.std(values)))
    mean = Trivial.of(toy.spec({"metric": "r2", "slice_floor": None}, task="regression"), values)
    assert mean.constant == 4.0


def test_the_constant_has_the_shape_of_a_prediction_and_survives_json() -> None:
    given = Trivial(constant=[0.25, 0.0, 0.75])
    assert Trivial.model_validate_json(given.model_dump_json()) == given
    assert given.predict(5).shape == (5, 3)
    assert Trivial(constant=0.2).predict(5).tolist() == [0.2] * 5


def test_a_probability_is_judged_by_what_happened() -> None:
    found = judged(toy.spec(), np.array([0.2, 0.9, 0.5]), np.array([1.0, 1.0, NAN]), Trivial(constant=0.5))
    np.testing.assert_allclose(found["residual"], [0.8, 0.1, NAN])
    np.testing.assert_allclose(found["loss"], [-np.log(0.2), -np.log(0.9), NAN])
    np.testing.assert_allclose(found["baseline_loss"], [np.log(2), np.log(2), NAN])


def test_several_classes_are_judged_by_the_likeliest() -> None:
    prediction = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    trivial = Trivial(constant=[0.2, 0.2, 0.6])
    found = judged(toy.spec(task="multiclass"), prediction, np.array([2.0, NAN]), trivial)
    assert found["prediction"].tolist() == [0.7, 0.5]
    assert found["label"].tolist() == ["late", "early"]
    np.testing.assert_allclose(found["residual"], [0.3, NAN])
    np.testing.assert_allclose(found["loss"], [-np.log(0.7), NAN])
    np.testing.assert_allclose(found["baseline_loss"], [-np.log(0.6), NAN])


def test_a_number_is_off_in_standard_deviations_and_a_quantile_in_coverage() -> None:
    prediction, y = np.array([10.0, 10.0, 10.0]), np.array([8.0, 14.0, NAN])
    trivial = Trivial(constant=9.0, scale=2.0)
    found = judged(toy.spec(task="regression"), prediction, y, trivial)
    np.testing.assert_allclose(found["residual"], [-1.0, 2.0, NAN])
    np.testing.assert_allclose(found["loss"], [2.0, 4.0, NAN])
    np.testing.assert_allclose(found["baseline_loss"], [1.0, 5.0, NAN])
    quantile = toy.spec({"metric": "pinball", "quantile": 0.9, "slice_floor": None}, task="regression")
    covered = judged(quantile, prediction, y, trivial)
    np.testing.assert_allclose(covered["residual"], [0.1, -0.9, NAN])
    np.testing.assert_allclose(covered["loss"], [0.2, 3.6, NAN])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_no_rows_are_judged_as_no_rows(task: str) -> None:
    empty = np.empty((0, 3)) if task == "multiclass" else np.empty(0)
    trivial = Trivial(constant=[0.2, 0.2, 0.6] if task == "multiclass" else 0.5)
    assert {len(column) for column in judged(toy.spec(task=task), empty, np.empty(0), trivial).values()} == {0}


def test_an_embedding_is_watched_in_its_own_order_after_what_the_problem_watches() -> None:
    names = ["embedding_10", "embedding_2", "embedding_size", "other"]
    assert embedding(toy.spec(), names) == ["embedding_2", "embedding_10"]
    assert list(watched(toy.spec(), names)) == ["size", "rain", "kind", "who", "embedding_2", "embedding_10"]


def test_statistics_are_derived_numbers_beside_the_features() -> None:
    spec = toy.spec().model_copy(update={"monitor": toy.spec().monitor.model_copy(update={"statistics": ["ink"]})})
    found = statistics(spec, {"ink": np.array([1, 2]), "other": np.array([3, 4])})
    assert {name: (v.dtype, v.tolist()) for name, v in found.items()} == {"ink": (np.float32, [1.0, 2.0])}
    assert list(spec.watched) == ["size", "rain", "kind", "who", "ink"]
