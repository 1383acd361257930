"""The release gate, on real models: what is worse, broken or dishonest is kept out by a reason that names the fault.

Every test that takes a challenger runs for the three tasks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.runtime import OnnxModel, digest
from core.schema import ProblemSpec
from core.scored import Trivial
from core.task import of
from pipeline.evaluate import slices
from pipeline.features import CLUSTER, holdout_rows, holdout_start, inputs, training_rows
from pipeline.gate import Evidence, Rule, Verdict, judge
from pipeline.train import row_hashes, train
from tests.toy import AS_OF, FIRST_DAY, frame, spec

TASKS = ["binary", "multiclass", "regression"]
SPECS = {task: spec(task=task) for task in TASKS}
FRAMES = {task: frame(task=task) for task in TASKS}
# By role: days of training, from the first, and options. The champion is honest and a little worse than the challenger.
# What is worse on purpose is calibrated all the same: of several classes that means few rows and not few rounds.
FITS: dict[str, dict[str, tuple[int, dict[str, Any]]]] = {
    "challenger": {"binary": (99, {"max_iter": 40}), "multiclass": (99, {"max_iter": 15}), "regression": (99, {})},
    "champion": {
        "binary": (10, {"max_iter": 15}),
        "multiclass": (10, {"max_iter": 15}),
        "regression": (10, {"max_iter": 10}),
    },
    "worse": {
        "binary": (99, {"max_iter": 4, "learning_rate": 0.05}),
        "multiclass": (1, {"max_iter": 10}),
        "regression": (99, {"max_iter": 8, "learning_rate": 0.05}),
    },
}


def held_out(task: str) -> pd.DataFrame:
    return holdout_rows(SPECS[task], FRAMES[task], AS_OF)


def before(task: str) -> pd.DataFrame:
    return training_rows(FRAMES[task], holdout_start(SPECS[task], AS_OF))


@dataclass(frozen=True)
class Model:
    """A trained candidate, and what the gate gets of it."""

    task: str
    predictions: np.ndarray
    trained_on: np.ndarray
    digest: str
    facts: dict[str, Any]
    p99_ms: float

    @property
    def spec(self) -> ProblemSpec:
        return SPECS[self.task]

    @property
    def held_out(self) -> pd.DataFrame:
        return held_out(self.task)

    @property
    def y(self) -> np.ndarray:
        return self.held_out["late"].to_numpy()

    @property
    def scale(self) -> float:
        return Trivial.model_validate(self.facts["trivial"]).scale


def fitted(folder: Path, task: str, rows: pd.DataFrame, **options: Any) -> Model:
    own = SPECS[task].candidates["hgb"] | options
    given = SPECS[task].model_copy(update={"candidates": {"hgb": own}})
    done = train(given, "hgb", rows, held_out(task), folder)
    predictions = OnnxModel.load(folder, given).predict(inputs(given, held_out(task)))
    return Model(task, predictions, row_hashes(rows["_id"]), digest(folder), done.facts, done.cost["p99_ms"])


def in_role(folder: Path, role: str, task: str) -> Model:
    days, options = FITS[role][task]
    rows = before(task)
    early = rows[rows["_day"] < pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=days)]
    return fitted(folder / role, task, early, **options)


@pytest.fixture(scope="module", params=TASKS)
def challenger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return in_role(tmp_path_factory.mktemp("gate"), "challenger", request.param)


@pytest.fixture(scope="module")
def champion(challenger: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return in_role(tmp_path_factory.mktemp("gate"), "champion", challenger.task)


def evidence(mine: Model, theirs: Model | None = None, /, **changes: Any) -> Evidence:
    table = mine.held_out
    found = Evidence(
        y=mine.y,
        days=table["_day"].to_numpy(),
        clusters=table[CLUSTER].to_numpy(),
        hashes=pd.util.hash_array(table["_id"].to_numpy(object), categorize=False),
        challenger=mine.predictions,
        baseline=Trivial.model_validate(mine.facts["trivial"]).predict(len(table)),
        scale=mine.scale,
        trained_on=mine.trained_on,
        parity=mine.facts["parity"],
        refused=mine.facts["refused"],
        p99_ms=mine.p99_ms,
        refit_mean=float(of(mine.spec).score(mine.predictions).mean()),
        slices=slices(mine.spec, table, mine.predictions, mine.scale),
        digest=mine.digest,
    )
    if theirs is not None:
        of_champion = {"champion_trained_on": theirs.trained_on, "champion_digest": theirs.digest}
        found = replace(found, champion=theirs.predictions, **of_champion)
    return replace(found, **changes)


def nudged(model: Model) -> np.ndarray:
    """Its predictions with a little noise."""
    noise = np.random.default_rng(0).normal(0, 0.02, model.predictions.shape)
    if model.task == "regression":
        return np.asarray(model.predictions + noise * model.scale)
    near = np.clip(model.predictions + noise, 0.01, 0.99)
    return near / near.sum(axis=1, keepdims=True) if near.ndim == 2 else near


def perfect(model: Model) -> np.ndarray:
    """The outcomes as predictions."""
    return np.eye(3)[model.y.astype(int)] if model.task == "multiclass" else model.y


def broken(verdict: Verdict) -> list[str]:
    return [rule.name for rule in verdict.rules if not rule.held]


def rule(verdict: Verdict, name: str) -> Rule:
    return next(rule for rule in verdict.rules if rule.name == name)


# what passes ----------------------------------------------------------------------------------------------------------


def test_a_first_champion_that_breaks_no_rule_is_promoted(challenger: Model) -> None:
    verdict = judge(challenger.spec, evidence(challenger))
    assert (verdict.outcome, broken(verdict)) == ("promote", [])
    assert verdict.reason == "no champion yet, and every rule held"


def test_a_better_challenger_is_promoted_with_the_numbers(challenger: Model, champion: Model) -> None:
    verdict = judge(challenger.spec, evidence(challenger, champion))
    assert (verdict.outcome, broken(verdict)) == ("promote", [])
    assert f"{challenger.spec.gate.metric} -" in verdict.reason
    assert "over 7 days (t = -" in verdict.reason


def test_a_challenger_that_is_a_little_worse_by_chance_is_promoted(challenger: Model, champion: Model) -> None:
    verdict = judge(challenger.spec, evidence(challenger, champion, challenger=nudged(champion)))
    t = float(verdict.reason.split("t = ")[1].split(",")[0])
    assert (verdict.outcome == "promote") == (t < challenger.spec.gate.worse_t)


# the table of ISSUE 2 -------------------------------------------------------------------------------------------------


def test_a_challenger_made_worse_on_purpose_is_kept_out(champion: Model, tmp_path: Path) -> None:
    worse = in_role(tmp_path, "worse", champion.task)
    verdict = judge(champion.spec, evidence(worse, champion))
    assert verdict.outcome == "keep"
    assert broken(verdict) == ["champion"]
    assert f"{champion.spec.gate.metric} +" in verdict.reason
    assert "against the champion over 7 days" in verdict.reason


@pytest.mark.parametrize("first", [True, False], ids=["without champion", "with champion"])
def test_a_challenger_with_shuffled_labels_is_blocked(first: bool, champion: Model, tmp_path: Path) -> None:
    rows = before(champion.task)
    shuffled = rows.assign(late=np.random.default_rng(0).permutation(rows["late"].to_numpy()))
    found = evidence(fitted(tmp_path / "m", champion.task, shuffled), None if first else champion)
    verdict = judge(champion.spec, found)
    assert verdict.outcome == "block"
    assert {"baseline", "slices"} & set(broken(verdict))
    assert not first or "baseline" in broken(verdict)
    assert "trivial baseline" in verdict.reason or " below 0." in verdict.reason


def test_a_challenger_trained_on_holdout_rows_is_blocked(champion: Model, tmp_path: Path) -> None:
    leak, all_rows = champion.held_out.iloc[::50], len(champion.held_out)
    cheat = fitted(tmp_path / "m", champion.task, pd.concat([before(champion.task), leak]))
    verdict = judge(champion.spec, evidence(cheat, champion))
    assert verdict.outcome == "block"
    assert verdict.reason == f"it was trained on {len(leak)} of {all_rows} holdout rows"


def test_a_challenger_whose_graph_disagrees_is_blocked_even_when_a_stage_let_it_through(challenger: Model) -> None:
    verdict = judge(challenger.spec, evidence(challenger, parity=3e-3))
    assert (verdict.outcome, verdict.reason) == ("block", "ONNX parity 0.003 of 0.0001")
    assert judge(challenger.spec, evidence(challenger, parity=None)).reason == "ONNX parity unknown of 0.0001"
    assert judge(challenger.spec, evidence(challenger, parity=float("nan"))).outcome == "block"


def test_a_challenger_that_the_stages_refused_is_blocked_with_their_words(challenger: Model) -> None:
    reason = "its ONNX graph differs from the original by 0.3 (allowed: 0.0001)"
    verdict = judge(challenger.spec, evidence(challenger, refused=reason))
    assert (verdict.outcome, verdict.reason) == ("block", reason)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_challenger_that_emits_nan_is_blocked(value: float, challenger: Model, champion: Model) -> None:
    predictions = challenger.predictions.copy()
    predictions[[3, 5]] = value
    verdict = judge(challenger.spec, evidence(challenger, champion, challenger=predictions))
    assert (verdict.outcome, verdict.reason) == ("block", "2 predictions are NaN or infinite")


# the other rules ------------------------------------------------------------------------------------------------------


def days_of(found: Evidence, days: int) -> Evidence:
    """The same evidence on its last days only."""
    kept = found.days >= np.unique(found.days)[-days]
    names = ["y", "days", "clusters", "hashes", "challenger", "baseline"]
    names += ["champion"] if found.champion is not None else []
    return replace(found, **{name: getattr(found, name)[kept] for name in names})


def with_a_low_slice(found: Evidence) -> Evidence:
    low = dict.fromkeys(("roc_auc", "accuracy", "r2"), 0.05)
    return replace(found, slices=found.slices | {"kind=red": {"rows": 100, **low}})


Change = Callable[[Evidence], Evidence]
RULES: list[tuple[Change, str, str]] = [
    (lambda e: days_of(e, 4), "days", "4 holdout days, 5 needed"),
    (lambda e: replace(e, newest_day="the newest partition is quarantined: x"), "fresh", "is quarantined: x"),
    (lambda e: replace(e, p99_ms=5.1), "latency", "p99 5.100 ms of 5 ms a row"),
    (lambda e: replace(e, refit_mean=e.refit_mean + 0.11 * e.scale), "refit", "moved the mean prediction by 0.11"),
    (lambda e: replace(e, refit_mean=float("nan")), "refit", "moved the mean prediction by nan"),
    (with_a_low_slice, "slices", "kind=red 0.050"),
]


@pytest.mark.parametrize(("change", "name", "says"), RULES, ids=[says for *_, says in RULES])
def test_each_rule_blocks_alone_and_says_what_it_measured(
    change: Change, name: str, says: str, challenger: Model, champion: Model
) -> None:
    for found in (evidence(challenger), evidence(challenger, champion)):
        verdict = judge(challenger.spec, change(found))
        assert verdict.outcome == "block"
        assert broken(verdict) == [name]
        assert says in verdict.reason


def test_a_slice_too_small_to_judge_is_not_judged(challenger: Model) -> None:
    few = with_a_low_slice(evidence(challenger)).slices
    few["kind=red"]["rows"] = 99
    assert judge(challenger.spec, evidence(challenger, slices=few)).outcome == "promote"


def test_a_slice_in_which_the_floors_metric_is_not_defined_is_not_judged(challenger: Model) -> None:
    one_outcome = evidence(challenger).slices | {"kind=red": {"rows": 900}}
    assert judge(challenger.spec, evidence(challenger, slices=one_outcome)).outcome == "promote"


def test_without_a_declared_floor_no_slice_is_judged(challenger: Model) -> None:
    open_gate = challenger.spec.gate.model_copy(update={"slice_floor": None})
    given = challenger.spec.model_copy(update={"gate": open_gate})
    verdict = judge(given, with_a_low_slice(evidence(challenger)))
    assert verdict.outcome == "promote"
    assert rule(verdict, "slices").says == "no floor is declared"


def test_every_fault_is_in_the_reason(challenger: Model) -> None:
    verdict = judge(challenger.spec, evidence(challenger, p99_ms=9.0, parity=1.0))
    assert verdict.reason == "ONNX parity 1 of 0.0001; p99 9.000 ms of 5 ms a row"


def test_bad_calibration_blocks_unless_the_champion_is_as_bad(challenger: Model, champion: Model) -> None:
    """On days that surprise everybody, a challenger is not worse for it."""
    found = evidence(challenger, champion, y=surprising(challenger))
    assert rule(judge(challenger.spec, found), "calibration").held
    alone_off = judge(challenger.spec, replace(found, champion=calibrated(champion, found.y)))
    assert "calibration" in broken(alone_off)
    assert alone_off.outcome == "block"


def surprising(model: Model) -> np.ndarray:
    """Outcomes that are off for any model of the training rows."""
    every_fifth = np.arange(len(model.y)) % 5 == 0
    if model.task == "multiclass":
        return np.where(every_fifth, (model.y + 1) % 3, model.y)
    return np.where(every_fifth, 1.0, model.y) if model.task == "binary" else model.y + 0.3 * model.scale


def calibrated(model: Model, y: np.ndarray) -> np.ndarray:
    """The model's predictions, moved so that they are right on average."""
    p = model.predictions
    if model.task == "multiclass":
        right, sure = (p.argmax(axis=1) == y).mean(), p.max(axis=1).mean()
        return np.asarray(1 / 3 + (p - 1 / 3) * (right - 1 / 3) / (sure - 1 / 3))
    moved = p + (y.mean() - p.mean())
    return np.clip(moved, 0, 1) if model.task == "binary" else moved


def test_the_champions_own_model_is_a_tie_and_no_promotion(challenger: Model, champion: Model) -> None:
    for twin in (evidence(champion, champion), evidence(challenger, champion, challenger=champion.predictions)):
        verdict = judge(challenger.spec, twin)
        assert (verdict.outcome, verdict.reason) == ("keep", "a tie: it is the champion's own model")


def test_models_are_compared_only_on_days_that_the_champion_has_not_seen(challenger: Model, champion: Model) -> None:
    """Trained through the third day of the holdout, it would win those days by heart."""
    table, learnt = challenger.held_out, champion.predictions.astype(np.float64)
    seen = (table["_day"] < np.unique(table["_day"])[2]).to_numpy()
    learnt[seen] = perfect(champion)[seen]
    by_heart = row_hashes(pd.concat([before(champion.task)["_id"], table["_id"][seen]]))
    verdict = judge(challenger.spec, evidence(challenger, champion, champion=learnt, champion_trained_on=by_heart))
    assert verdict.outcome == "promote"
    assert "over 5 days" in verdict.reason


def test_too_few_blind_days_keep_the_champion(challenger: Model, champion: Model) -> None:
    one_row_a_day = challenger.held_out.groupby("_day")["_id"].first()[:3]
    verdict = judge(challenger.spec, evidence(challenger, champion, champion_trained_on=row_hashes(one_row_a_day)))
    assert verdict.outcome == "keep"
    assert verdict.reason == "the champion is blind to 4 of the holdout days, 5 needed"


def test_a_champion_that_has_broken_down_does_not_stay_for_ever(challenger: Model, champion: Model) -> None:
    gone = champion.predictions.copy()
    gone[5] = np.nan
    assert judge(challenger.spec, evidence(challenger, champion, champion=gone)).outcome == "promote"


def test_a_verdict_can_be_kept_as_json(challenger: Model, champion: Model) -> None:
    import json

    kept = json.loads(json.dumps(judge(challenger.spec, evidence(challenger, champion)).as_dict()))
    assert kept["outcome"] == "promote"
    assert {"name", "held", "says"} == set(kept["rules"][0])


# any primary metric, any cluster --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name"), [("binary", "roc_auc"), ("binary", "f1"), ("multiclass", "macro_f1"), ("regression", "r2")]
)
def test_a_metric_of_which_more_is_better_decides_as_well(task: str, name: str, tmp_path: Path) -> None:
    given = spec(task=task, gate={"metric": name})
    early = before(task)[lambda rows: rows["_day"] < pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=5)]
    good, weak = fitted(tmp_path / "good", task, before(task)), fitted(tmp_path / "weak", task, early, max_iter=3)
    first, better, worse = (judge(given, evidence(*pair)) for pair in ((good,), (good, weak), (weak, good)))
    assert (first.outcome, better.outcome) == ("promote", "promote")
    assert better.reason.startswith(f"{name} +0.")
    assert worse.outcome in ("keep", "block")
    assert rule(first, "baseline").says.startswith(f"{name} 0.")


def test_differences_are_paired_by_the_declared_cluster_and_days_are_still_counted(
    challenger: Model, champion: Model
) -> None:
    given = challenger.spec.model_copy(update={"cluster": "who"})
    by_who = evidence(challenger, champion, clusters=challenger.held_out["who"].to_numpy())
    verdict = judge(given, by_who)
    assert "against the champion over 4 values of who (t = " in verdict.reason
    assert judge(given, days_of(by_who, 4)).reason == "4 holdout days, 5 needed"


def test_a_metric_that_blind_days_leave_undefined_keeps_the_champion(tmp_path: Path) -> None:
    mine = fitted(tmp_path / "m", "binary", before("binary"))
    given, table = spec({"metric": "roc_auc"}), mine.held_out
    seen = (table["_day"] == np.unique(table["_day"])[0]).to_numpy()
    other = replace(mine, trained_on=row_hashes(table["_id"][seen]), digest="other", predictions=nudged(mine))
    found = evidence(mine, other, y=np.where(seen, mine.y, 0.0))
    lenient = given.gate.model_copy(update={"calibration_max": 1.0})
    verdict = judge(given.model_copy(update={"gate": lenient}), found)
    assert verdict.outcome == "keep"
    assert verdict.reason == "roc_auc is not defined on the 6 days that the champion has not seen"
