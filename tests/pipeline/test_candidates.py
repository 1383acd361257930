"""Every candidate on every task: a graph that agrees with the original, the same bits each time, or a refusal."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from core.columns import Columns
from core.errors import ConfigError, ModelRefused
from core.runtime import OnnxModel, open_session
from core.schema import ProblemSpec
from core.scored import Trivial
from core.task import of, primary_loss
from pipeline import candidates
from pipeline.candidates import FUNCTIONS, checks
from pipeline.features import holdout_rows, holdout_start, inputs, training_rows
from pipeline.train import contract, parity
from tests import toy

DAYS = 14
AS_OF = toy.FIRST_DAY + timedelta(days=DAYS)
OPTIONS: dict[str, dict[str, Any]] = {
    "logistic": {"C": 0.1},
    "tree": {"max_depth": 4},
    "forest": {"n_estimators": 10, "min_samples_leaf": 20},
    "hgb": {"max_iter": 20, "min_samples_leaf": 50},
    "svm": {"max_rows": 800},
    "knn": {"n_neighbors": 25, "max_rows": 1000},
    "mlp": {"hidden": [8], "embedding": 2, "epochs": 5, "batch": 64, "learning_rate": 0.01},
    "transformer": {"width": 8, "epochs": 3, "batch": 64, "learning_rate": 0.005},
}
IMAGE_OPTIONS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [16], "epochs": 10, "batch": 32, "learning_rate": 0.01},
    "cnn": {"channels": 4, "hidden": 16, "epochs": 10, "batch": 32, "learning_rate": 0.01},
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "binary": ("binary", {}),
    "multiclass": ("multiclass", {}),
    "regression": ("regression", {}),
    "squares": ("regression", {"metric": "rmse"}),
    "pinball": ("regression", {"metric": "pinball", "quantile": 0.9, "slice_floor": None}),
}
ONLY_CLASSES = "it is for binary and multiclass problems; this one is regression"
MIDDLE = "it predicts the middle; the problem asks for the 0.9 quantile"
IMAGELESS = "it takes one image; the problem's features are numbers and categories"


class Case:
    """A task's toy problem: training rows, and held-out rows with all that is odd among them."""

    def __init__(self, name: str) -> None:
        task, gate = CASES[name]
        self.spec = toy.spec(task=task, gate=gate)
        table = toy.frame(task=task, days=DAYS)
        rows, held_out = training_rows(table, holdout_start(self.spec, AS_OF)), holdout_rows(self.spec, table, AS_OF)
        self.X, self.y = inputs(self.spec, rows), rows["late"].to_numpy()
        self.held_out, self.truth = inputs(self.spec, held_out), held_out["late"].to_numpy()

    def odd(self) -> Columns:
        """NaN everywhere, unseen and empty categories, huge numbers."""
        X = {name: values.copy() for name, values in self.held_out.items()}
        X["size"][::3], X["rain"][::4] = np.nan, np.nan
        X["kind"][1::5], X["who"][2::5] = "never seen", ""
        X["size"][3::7], X["size"][4::7] = 1e6, -1e6
        return X


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {name: Case(name) for name in CASES}


def graph_of(spec: ProblemSpec, fitted: candidates.Fitted, X: Columns) -> OnnxModel:
    return OnnxModel(open_session(fitted.to_onnx()), contract(spec, X, fitted.embedding), of(spec))


def refused(name: str, case: str) -> str | None:
    task, _ = CASES[case]
    if name == "cnn":
        return IMAGELESS
    if name == "logistic" and task == "regression":
        return ONLY_CLASSES
    if name == "linear" and task != "regression":
        return f"it is for regression problems; this one is {task}"
    return MIDDLE if case == "pinball" and name in ("tree", "forest", "svm", "knn") else None


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_a_candidate_beats_the_constant_with_a_faithful_graph_or_says_why_not(
    cases: dict[str, Case], name: str, case: str
) -> None:
    it, options = cases[case], OPTIONS.get(name, {})
    if why := refused(name, case):
        with pytest.raises(ModelRefused) as error:
            candidates.fit(name, it.spec, it.X, it.y, options)
        assert str(error.value) == why
        return
    fitted, trivial = candidates.fit(name, it.spec, it.X, it.y, options), Trivial.of(it.spec, it.y)
    model = graph_of(it.spec, fitted, it.X)
    assert parity(it.spec, model, fitted.predict(it.odd()), it.odd(), trivial.scale) < 1e-4
    loss = of(it.spec).losses[primary_loss(it.spec)]
    mine, constant = model.predict(it.held_out), trivial.predict(len(it.truth))
    assert loss(it.truth, mine).mean() < 0.95 * loss(it.truth, constant).mean()
    assert (fitted.device, fitted.embedding) == ("cpu", 0)
    assert candidates.fit(name, it.spec, it.X, it.y, options).to_onnx() == fitted.to_onnx()


@pytest.mark.parametrize("name", ["linear", "hgb", "mlp", "transformer"])
def test_a_quantile_is_covered_as_often_as_it_says(cases: dict[str, Case], name: str) -> None:
    it = cases["pinball"]
    fitted = candidates.fit(name, it.spec, it.X, it.y, OPTIONS.get(name, {}))
    assert np.mean(it.truth <= fitted.predict(it.held_out)) == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("name", ["logistic", "forest", "mlp"])
def test_a_class_without_training_rows_has_probability_zero_or_nearly(cases: dict[str, Case], name: str) -> None:
    it = cases["multiclass"]
    seen = it.y != 1
    X = {n: values[seen] for n, values in it.X.items()}
    fitted = candidates.fit(name, it.spec, X, it.y[seen], OPTIONS[name])
    answers = graph_of(it.spec, fitted, X).predict(it.held_out)
    np.testing.assert_allclose(answers, fitted.predict(it.held_out), atol=1e-5)
    assert answers.shape == (len(it.truth), 3)
    assert answers[:, 1].mean() < 0.05


@pytest.mark.parametrize("name", ["logistic", "forest", "svm", "mlp"])
def test_a_column_without_any_value_is_taken(cases: dict[str, Case], name: str) -> None:
    it = cases["binary"]
    X = it.X | {"rain": np.full(len(it.y), np.nan, np.float32)}
    fitted = candidates.fit(name, it.spec, X, it.y, OPTIONS[name])
    expected, got = fitted.predict(it.held_out), graph_of(it.spec, fitted, X).predict(it.held_out)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_one_class_alone_is_refused(cases: dict[str, Case]) -> None:
    it = cases["binary"]
    for name in ("logistic", "mlp", "transformer", "svm"):
        with pytest.raises(ModelRefused, match="the training rows are all of one class"):
            candidates.fit(name, it.spec, it.X, np.zeros(len(it.y)), OPTIONS[name])


def test_a_class_too_rare_for_platts_scaling_is_named(cases: dict[str, Case]) -> None:
    it = cases["multiclass"]
    y = np.where(np.arange(len(it.y)) < 2, 2.0, np.minimum(it.y, 1))
    X = {name: values[:500] for name, values in it.X.items()}
    with pytest.raises(ModelRefused, match=r"class 'late' has 2 training row\(s\); 3 are needed"):
        candidates.fit("svm", it.spec, X, y[:500], {})


def test_neighbours_weighted_by_distance_have_no_faithful_graph(cases: dict[str, Case]) -> None:
    """sklearn and the graph disagree about rows that lie on a training row: the parity check must see it."""
    it = cases["binary"]
    fitted = candidates.fit("knn", it.spec, it.X, it.y, {"weights": "distance", "max_rows": 1000})
    model = graph_of(it.spec, fitted, it.X)
    with pytest.raises(ModelRefused, match="its ONNX graph differs from the original by"):
        parity(it.spec, model, fitted.predict(it.X), it.X, 1.0)


def test_a_candidate_that_nobody_wrote_lists_those_there_are(cases: dict[str, Case]) -> None:
    it = cases["binary"]
    with pytest.raises(ConfigError, match="no candidate 'xgb'; there are: logistic, linear, tree, forest, hgb, svm"):
        candidates.fit("xgb", it.spec, it.X, it.y, {})


def test_thinned_rows_are_evenly_spaced() -> None:
    X, y = checks.thinned({"a": np.arange(1000)}, np.arange(1000), 100)
    assert (len(y), y[0], y[-1]) == (100, 0, 999)
    assert set(np.diff(y)) <= {10, 11}
    assert np.array_equal(X["a"], y)


# images ---------------------------------------------------------------------------------------------------------------

SIDE = 8
PIXELS = {"type": "array", "shape": [SIDE, SIDE], "description": "grey"}


def image_spec(task: str = "multiclass", **changes: Any) -> ProblemSpec:
    plain = toy.spec(task=task, pixels=PIXELS).model_dump()
    features = {"image": {"kind": "array", "size": SIDE * SIDE}}
    floor = plain["gate"] | {"slice_floor": None}
    return ProblemSpec.model_validate(plain | {"features": features, "slices": [], "gate": floor} | changes)


def images(n: int = 400, seed: int = 0) -> tuple[Columns, np.ndarray]:
    """Noise with a bright 2 x 2 spot in one of three places, which is the class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    image = rng.uniform(0, 0.3, (n, SIDE, SIDE)).astype(np.float32)
    for row, place in enumerate(y):
        image[row, 2 * place : 2 * place + 2, 2 * place : 2 * place + 2] += 0.6
    return {"image": image.reshape(n, -1)}, y.astype(np.float64)


@pytest.mark.parametrize("name", ["logistic", "tree", "forest", "hgb", "svm", "knn", "mlp", "cnn"])
def test_a_candidate_learns_from_an_image(name: str) -> None:
    (X, y), (held_out, truth) = images(), images(seed=1)
    options = IMAGE_OPTIONS.get(name, {"n_estimators": 20} if name == "forest" else {})
    fitted = candidates.fit(name, image_spec(), X, y, options)
    model = graph_of(image_spec(), fitted, X)
    assert parity(image_spec(), model, fitted.predict(held_out), held_out, 1.0) < 1e-4
    assert (model.predict(held_out).argmax(axis=1) == truth).mean() > 0.85
    assert candidates.fit(name, image_spec(), X, y, options).to_onnx() == fitted.to_onnx()


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_convolution_does_the_other_tasks_too(task: str) -> None:
    (X, y), spec = images(), image_spec(task)
    target = np.minimum(y, 1) if task == "binary" else 1000 + 50 * y
    fitted = candidates.fit("cnn", spec, X, target, IMAGE_OPTIONS["cnn"])
    answers = graph_of(spec, fitted, X).predict(X)
    np.testing.assert_allclose(answers, fitted.predict(X), rtol=1e-5, atol=1e-5)
    assert np.corrcoef(answers, target)[0, 1] > 0.8


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_embedding_is_the_principal_components_of_what_the_head_sees(name: str) -> None:
    X, y = images()
    fitted = candidates.fit(name, image_spec(), X, y, IMAGE_OPTIONS[name])
    assert fitted.embedding == 8
    predictions, columns = graph_of(image_spec(), fitted, X).predict_and_embed(X)
    assert list(columns) == [f"embedding_{i}" for i in range(8)]
    np.testing.assert_allclose(predictions, fitted.predict(X), atol=1e-5)
    components = np.stack(list(columns.values()))
    covariance = np.cov(components)
    variances = np.diag(covariance)
    np.testing.assert_allclose(components.mean(axis=1), 0, atol=1e-4)
    assert (np.diff(variances) <= 1e-6).all()
    assert np.abs(covariance - np.diag(variances)).max() < 1e-3 * variances[0]


def test_a_narrow_layer_gives_a_narrow_embedding() -> None:
    X, y = images()
    assert candidates.fit("mlp", image_spec(), X, y, {"hidden": [5], "epochs": 1}).embedding == 5


@pytest.mark.parametrize("name", ["logistic", "forest", "svm", "mlp", "cnn"])
def test_an_array_beside_other_features_is_refused(name: str) -> None:
    spec = image_spec(features={"image": {"kind": "array", "size": SIDE * SIDE}, "size": {"kind": "number"}})
    X, y = images()
    with pytest.raises(ModelRefused, match=r"one array alone; the problem has 1 array\(s\) \(image\) and 1 other"):
        candidates.fit(name, spec, X | {"size": np.ones(len(y), np.float32)}, y, {})


def test_what_is_no_image_is_refused_by_the_convolution_and_the_transformer() -> None:
    X, y = images()
    flat = image_spec(columns=image_spec().model_dump()["columns"] | {"pixels": PIXELS | {"shape": [SIDE * SIDE]}})
    with pytest.raises(ModelRefused, match=r"no array column of shape \[height, width\] has the 64 numbers of image"):
        candidates.fit("cnn", flat, X, y, {})
    with pytest.raises(ModelRefused, match="it takes numbers and categories; image is an array"):
        candidates.fit("transformer", image_spec(), X, y, {})


def test_an_image_with_missing_pixels_is_refused() -> None:
    X, y = images()
    X["image"][3, 5] = np.nan
    for name in ("logistic", "cnn"):
        with pytest.raises(ModelRefused, match="array image has missing numbers"):
            candidates.fit(name, image_spec(), X, y, {})


def test_training_says_on_which_device_and_leaves_the_model_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU here, the CPU stands in for it."""
    import torch

    from pipeline.candidates import torch_model

    monkeypatch.setattr(torch_model, "_device", lambda: (torch.device("cpu"), "NVIDIA of the test"))
    X, y = images(60)
    fitted = candidates.fit("cnn", image_spec(), X, y, {"epochs": 1})
    assert fitted.device == "NVIDIA of the test"
    assert fitted.predict(X).shape == (60, 3)
