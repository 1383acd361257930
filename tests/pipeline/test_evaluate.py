"""Which candidate wins, and which is not even considered: for every task, and for every primary metric."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import DataError, ModelRefused
from core.schema import METRICS, ProblemSpec
from core.scored import Trivial
from pipeline.evaluate import BASELINE, as_column, choose, evaluate, from_column
from pipeline.features import CLUSTER, holdout_rows, holdout_start, training_rows
from pipeline.metrics import Metric, measures
from pipeline.train import FACTS
from tests.serving.models import bundle
from tests.toy import AS_OF, frame, spec

DAYS = np.repeat(np.arange(7), 10)
NOISE = np.random.default_rng(0).normal(0, 0.01, 70)
LOSS = Metric("loss", lambda y, p: float(p.mean()), rows=lambda y, p: p)  # a prediction is its own loss
TASKS = ["binary", "multiclass", "regression"]


def pick(off: dict[str, float] | None = None, sizes: dict[str, int] | None = None, **behind: float) -> str:
    """Candidates that are `behind` by so much every day, with a common noise that the pairing removes."""
    jitter = np.repeat([0.01, -0.01, 0.01, -0.01, 0.01, -0.01, 0.0], 10)  # one standard error is 0.0035
    losses = {name: 0.5 + NOISE + (0 if value == 0 else value + jitter) for name, value in behind.items()}
    sizes = sizes or {name: {"small": 1, "middle": 10, "large": 100}[name] for name in losses}
    winner, reason = choose(
        LOSS, NOISE, losses, DAYS, sizes, {name: (off or {}).get(name, 0.0) for name in losses}, 0.05
    )
    assert winner in reason
    assert reason.count(". ") == 0
    return winner


def test_the_best_wins_when_the_smaller_ones_are_clearly_behind() -> None:
    assert pick(large=0, middle=0.05, small=0.1) == "large"


def test_among_those_within_one_standard_error_the_smallest_graph_wins() -> None:
    assert pick(large=0, middle=0.05, small=0.002) == "small"
    assert pick(large=0, middle=0.002, small=0.05) == "middle"


def test_a_larger_one_does_not_win_by_being_near() -> None:
    assert pick(small=0, large=0.001) == "small"


def test_a_smaller_one_that_is_off_does_not_win_by_being_near() -> None:
    assert pick(large=0, small=0.002, off={"small": 0.08}) == "large"
    assert pick(large=0, small=0.002, off={"small": 0.08, "large": 0.09}) == "small"


def test_equal_candidates_are_told_apart_by_name_so_that_the_choice_is_the_same_everywhere() -> None:
    assert pick(a=0, b=0, sizes={"a": 5, "b": 5}) == pick(b=0, a=0, sizes={"b": 5, "a": 5}) == "a"


def test_the_choice_explains_itself_in_one_sentence() -> None:
    y, good, sizes = NOISE, 0.5 + NOISE, {"line": 400, "tree": 70_000}
    near, far = good + np.repeat([0.02, -0.01, 0, 0, 0, 0, 0], 10), good + 0.1
    off = dict.fromkeys(sizes, 0.0)

    def says(**losses: np.ndarray) -> str:
        return choose(LOSS, y, losses, DAYS, {name: sizes[name] for name in losses}, off, 0.05)[1]

    assert says(tree=good) == "tree is the only candidate that was not refused."
    assert says(line=good, tree=far) == f"line has the best loss, {good.mean():.4g}, and the smallest graph."
    kept = "and no smaller one is calibrated and within one standard error of it."
    assert says(line=far, tree=good) == f"tree has the best loss, {good.mean():.4g}, {kept}"
    behind = "line is 0.001429 behind tree in loss, within one standard error (0.0034)"
    assert says(line=near, tree=good) == f"{behind}, and its graph has 400 bytes instead of 70,000."


ALL_METRICS = [(task, metric) for task, known in METRICS.items() for metric in known]


@pytest.mark.parametrize(("task", "name"), ALL_METRICS)
def test_any_metric_of_the_task_can_be_the_one_that_decides(task: str, name: str) -> None:
    """A large graph that knows more than a small one wins; one that knows hardly more does not."""
    gate = {"metric": name} | ({"quantile": 0.5} if name == "pinball" else {})
    given = spec(task=task, gate=gate)
    rng, n = np.random.default_rng(0), 1400
    y = rng.integers(0, 2 if task == "binary" else 3, n).astype(np.float64)

    def guess(noise: float) -> np.ndarray:
        off = rng.normal(0, noise, n)
        if task == "multiclass":
            logits = -2 * (y[:, None] + off[:, None] - np.arange(3)) ** 2
            return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return 1 / (1 + np.exp(-4 * (y + off - 0.5))) if task == "binary" else y + off

    days, sizes = np.repeat(np.arange(7), 200), {"small": 1, "large": 2}
    large = guess(0.6)
    for small, winner in ((guess(1.2), "large"), (large + 1e-9 * rng.random(large.shape), "small")):
        found = choose(
            measures(given)[name], y, {"small": small, "large": large}, days, sizes, {"small": 0, "large": 0}, 1
        )
        assert found[0] == winner


# evaluate -------------------------------------------------------------------------------------------------------------

CONSTANT: dict[str, Any] = {"binary": 0.45, "multiclass": [0.2, 0.5, 0.3], "regression": 960.0}


def candidate(
    folder: Path, name: str, prediction: Any = 0.45, fault: str = "", refused: str | None = None, task: str = "binary"
) -> Path:
    made = bundle(spec(task=task), folder / name, prediction, fault)
    (made / FACTS).write_text(json.dumps({"refused": refused}))
    return made


def trivial(given: ProblemSpec, table: pd.DataFrame) -> Trivial:
    return Trivial.of(given, training_rows(table, holdout_start(given, AS_OF))["late"].to_numpy())


def test_a_refused_candidate_is_left_out_with_its_reason(tmp_path: Path) -> None:
    held_out = holdout_rows(spec(), frame(), AS_OF)
    held_out.loc[3, "size"] = 9999.0  # the faulty graph answers NaN above 5000
    models = {
        "good": candidate(tmp_path, "good"),
        "nan": candidate(tmp_path, "nan", fault="nan"),
        "parity": candidate(tmp_path, "parity", refused="its ONNX graph differs from the original by 0.3"),
        "swapped": candidate(tmp_path, "swapped"),
    }
    (models["swapped"] / "model.onnx").write_bytes((candidate(tmp_path, "x", 0.9) / "model.onnx").read_bytes())
    found, predictions = evaluate(spec(), held_out, Trivial(constant=0.4), models)
    assert found["winner"] == "good"
    assert found["refused"]["nan"] == "it predicts NaN or infinity on the holdout"
    assert found["refused"]["parity"] == "its ONNX graph differs from the original by 0.3"
    assert found["refused"]["swapped"].startswith("self-test")
    assert set(found["metrics"]) == {BASELINE, "good"}
    assert len(predictions) == len(held_out) == found["rows"]
    assert set(found["slices"]) == {"kind=blue", "kind=green", "kind=red"}


def test_when_every_candidate_is_refused_nothing_wins(tmp_path: Path) -> None:
    models = {"a": candidate(tmp_path, "a", refused="too odd"), "b": candidate(tmp_path, "b", refused="no")}
    with pytest.raises(ModelRefused, match="every candidate is refused: a: too odd; b: no"):
        evaluate(spec(), holdout_rows(spec(), frame(), AS_OF), Trivial(constant=0.4), models)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_compared_on_all_its_metrics_beside_its_baseline(task: str, tmp_path: Path) -> None:
    given, table = spec(task=task), frame(task=task)
    held_out = holdout_rows(given, table, AS_OF)
    models = {"same": candidate(tmp_path, "same", CONSTANT[task], task=task)}
    found, _ = evaluate(given, held_out, trivial(given, table), models)
    assert set(found["metrics"]) == {BASELINE, "same"}
    assert set(found["metrics"]["same"]) == {*measures(given), "observed_minus_expected"}
    assert (found["rows"], found["days"]) == (len(held_out), 7)
    assert set(found["slices"]["kind=red"]) == {"rows", *measures(given), "observed_minus_expected"}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("task", TASKS)
def test_predictions_come_back_from_their_file_as_they_were(task: str, tmp_path: Path) -> None:
    given, table = spec(task=task), frame(task=task)
    models = {"same": candidate(tmp_path, "same", CONSTANT[task], task=task)}
    _, made = evaluate(given, holdout_rows(given, table, AS_OF), trivial(given, table), models)
    made.to_parquet(tmp_path / "predictions.parquet", index=False)
    back = pd.read_parquet(tmp_path / "predictions.parquet")
    for name, dtype in (("same", np.float32), (BASELINE, np.float64)):
        found = from_column(back[name])
        assert found.shape == ((len(made), 3) if task == "multiclass" else (len(made),))
        assert found.dtype == dtype
        assert (found == np.asarray(found[0])).all()
    assert from_column(back["same"])[0].tolist() == pytest.approx(CONSTANT[task])
    assert CLUSTER in back


def test_a_prediction_of_several_classes_is_one_list_a_row() -> None:
    prediction = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert from_column(pd.Series(as_column(prediction))).tolist() == prediction.tolist()


def test_a_slice_has_the_metrics_that_are_defined_there(tmp_path: Path) -> None:
    held_out = holdout_rows(spec(), frame(), AS_OF)
    held_out.loc[held_out["kind"] == "red", "late"] = 1.0
    models = {"good": candidate(tmp_path, "good")}
    found, _ = evaluate(spec(), held_out, Trivial(constant=0.4), models)
    assert {"log_loss", "accuracy", "rows"} <= set(found["slices"]["kind=red"])
    assert "roc_auc" not in found["slices"]["kind=red"]
    assert "roc_auc" in found["slices"]["kind=blue"]


def test_a_primary_metric_that_the_holdout_leaves_undefined_is_an_error_in_words(tmp_path: Path) -> None:
    given, held_out = spec({"metric": "roc_auc"}), holdout_rows(spec(), frame(), AS_OF).assign(late=0.0)
    with pytest.raises(DataError, match="roc_auc is not defined on the holdout: do its 1750 rows show only one"):
        evaluate(given, held_out, Trivial(constant=0.4), {"good": candidate(tmp_path, "good")})


def test_intervals_are_by_the_declared_cluster(tmp_path: Path) -> None:
    held_out = holdout_rows(spec(), frame(), AS_OF)
    models = {"good": candidate(tmp_path, "good")}
    by_day, _ = evaluate(spec(), held_out, Trivial(constant=0.4), models)
    by_who, _ = evaluate(spec(), held_out.assign(_cluster=held_out["who"]), Trivial(constant=0.4), models)
    assert by_day["metrics"]["good"]["brier"]["value"] == by_who["metrics"]["good"]["brier"]["value"]
    assert by_day["metrics"]["good"]["brier"]["low"] != by_who["metrics"]["good"]["brier"]["low"]
