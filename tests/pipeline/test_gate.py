"""The release gate, on real models: what is worse, broken or dishonest is kept out by a reason that names the fault."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.runtime import OnnxModel, digest
from pipeline.evaluate import slices
from pipeline.features import holdout_rows, holdout_start, training_rows
from pipeline.gate import Evidence, Rule, Verdict, judge
from pipeline.train import columns, row_hashes, train
from tests.toy import AS_OF, FIRST_DAY, frame, spec

SPEC = spec()
FRAME = frame()
HELD_OUT = holdout_rows(SPEC, FRAME, AS_OF)
BEFORE = training_rows(FRAME, holdout_start(SPEC, AS_OF))


@dataclass(frozen=True)
class Model:
    """A trained candidate, and what the gate gets of it."""

    predictions: np.ndarray
    trained_on: np.ndarray
    digest: str
    facts: dict[str, Any]
    p99_ms: float


def fitted(folder: Path, name: str, rows: pd.DataFrame, **options: Any) -> Model:
    given = SPEC.model_copy(update={"candidates": SPEC.candidates | {name: SPEC.candidates[name] | options}})
    done = train(given, name, rows, HELD_OUT, folder)
    predictions = OnnxModel.load(folder).predict(columns(SPEC, HELD_OUT))
    return Model(predictions, row_hashes(rows["_id"]), digest(folder), done.facts, done.cost["p99_ms"])


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return fitted(tmp_path_factory.mktemp("challenger") / "m", "hgb", BEFORE, max_iter=40)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Trained on the first ten days: honest, and a little worse."""
    early = BEFORE[BEFORE["_day"] < pd.Timestamp(FIRST_DAY) + pd.Timedelta(days=10)]
    return fitted(tmp_path_factory.mktemp("champion") / "m", "hgb", early, max_iter=15)


def evidence(mine: Model, theirs: Model | None = None, /, **changes: Any) -> Evidence:
    found = Evidence(
        y=HELD_OUT["late"].to_numpy(),
        days=HELD_OUT["_day"].to_numpy(),
        hashes=pd.util.hash_array(HELD_OUT["_id"].to_numpy(object), categorize=False),
        challenger=mine.predictions,
        baseline=np.full(len(HELD_OUT), BEFORE["late"].mean()),
        trained_on=mine.trained_on,
        parity=mine.facts["parity"],
        refused=mine.facts["refused"],
        p99_ms=mine.p99_ms,
        refit_mean=float(mine.predictions.mean()),
        slices=slices(SPEC, HELD_OUT, mine.predictions),
        digest=mine.digest,
    )
    if theirs is not None:
        of_champion = {"champion_trained_on": theirs.trained_on, "champion_digest": theirs.digest}
        found = replace(found, champion=theirs.predictions, **of_champion)
    return replace(found, **changes)


def broken(verdict: Verdict) -> list[str]:
    return [rule.name for rule in verdict.rules if not rule.held]


def rule(verdict: Verdict, name: str) -> Rule:
    return next(rule for rule in verdict.rules if rule.name == name)


# what passes ----------------------------------------------------------------------------------------------------------


def test_a_first_champion_that_breaks_no_rule_is_promoted(challenger: Model) -> None:
    verdict = judge(SPEC, evidence(challenger))
    assert (verdict.outcome, broken(verdict)) == ("promote", [])
    assert verdict.reason == "no champion yet, and every rule held"


def test_a_better_challenger_is_promoted_with_the_numbers(challenger: Model, champion: Model) -> None:
    verdict = judge(SPEC, evidence(challenger, champion))
    assert (verdict.outcome, broken(verdict)) == ("promote", [])
    assert "log_loss -0." in verdict.reason
    assert "over 7 days (t = -" in verdict.reason


def test_a_challenger_that_is_a_little_worse_by_chance_is_promoted(challenger: Model, champion: Model) -> None:
    jitter = np.random.default_rng(0).normal(0, 0.02, len(HELD_OUT))
    near = np.clip(champion.predictions + jitter, 0.01, 0.99)
    verdict = judge(SPEC, evidence(challenger, champion, challenger=near))
    t = float(verdict.reason.split("t = ")[1].split(",")[0])
    assert (verdict.outcome == "promote") == (t < SPEC.gate.worse_t)


# the table of ISSUE 2 -------------------------------------------------------------------------------------------------


def test_a_challenger_made_worse_on_purpose_is_kept_out(challenger: Model, champion: Model, tmp_path: Path) -> None:
    worse = fitted(tmp_path / "m", "hgb", BEFORE, max_iter=4, learning_rate=0.05)
    verdict = judge(SPEC, evidence(worse, champion))
    assert verdict.outcome == "keep"
    assert broken(verdict) == ["champion"]
    assert "log_loss +0." in verdict.reason
    assert "against the champion over 7 days" in verdict.reason


@pytest.mark.parametrize("first", [True, False], ids=["without champion", "with champion"])
def test_a_challenger_with_shuffled_labels_is_blocked(first: bool, champion: Model, tmp_path: Path) -> None:
    shuffled = BEFORE.assign(late=np.random.default_rng(0).permutation(BEFORE["late"].to_numpy()))
    verdict = judge(SPEC, evidence(fitted(tmp_path / "m", "hgb", shuffled), None if first else champion))
    assert verdict.outcome == "block"
    assert {"baseline", "slices"} & set(broken(verdict))
    assert not first or "baseline" in broken(verdict)
    assert "trivial baseline" in verdict.reason or "roc_auc below 0.55" in verdict.reason


def test_a_challenger_trained_on_holdout_rows_is_blocked(champion: Model, tmp_path: Path) -> None:
    cheat = fitted(tmp_path / "m", "hgb", pd.concat([BEFORE, HELD_OUT.iloc[::50]]))
    verdict = judge(SPEC, evidence(cheat, champion))
    leaked = len(HELD_OUT.iloc[::50])
    assert verdict.outcome == "block"
    assert verdict.reason == f"it was trained on {leaked} of {len(HELD_OUT)} holdout rows"


def test_a_challenger_whose_graph_disagrees_is_blocked_even_when_a_stage_let_it_through(challenger: Model) -> None:
    verdict = judge(SPEC, evidence(challenger, parity=3e-3))
    assert (verdict.outcome, verdict.reason) == ("block", "ONNX parity 0.003 of 0.0001")
    assert judge(SPEC, evidence(challenger, parity=None)).reason == "ONNX parity unknown of 0.0001"
    assert judge(SPEC, evidence(challenger, parity=float("nan"))).outcome == "block"


def test_a_challenger_that_the_stages_refused_is_blocked_with_their_words(challenger: Model) -> None:
    reason = "its ONNX graph differs from the original by 0.3 (allowed: 0.0001)"
    verdict = judge(SPEC, evidence(challenger, refused=reason))
    assert (verdict.outcome, verdict.reason) == ("block", reason)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_challenger_that_emits_nan_is_blocked(value: float, challenger: Model, champion: Model) -> None:
    predictions = challenger.predictions.copy()
    predictions[[3, 5]] = value
    verdict = judge(SPEC, evidence(challenger, champion, challenger=predictions))
    assert (verdict.outcome, verdict.reason) == ("block", "2 predictions are NaN or infinite")


# the other rules ------------------------------------------------------------------------------------------------------


def days_of(found: Evidence, days: int) -> Evidence:
    """The same evidence on its last days only."""
    kept = found.days >= np.unique(found.days)[-days]
    names = ("y", "days", "hashes", "challenger", "baseline", *(("champion",) if found.champion is not None else ()))
    return replace(found, **{name: getattr(found, name)[kept] for name in names})


Change = Callable[[Evidence], Evidence]
RULES: list[tuple[Change, str, str]] = [
    (lambda e: days_of(e, 4), "days", "4 holdout days, 5 needed"),
    (lambda e: replace(e, newest_day="the newest partition is quarantined: x"), "fresh", "is quarantined: x"),
    (lambda e: replace(e, p99_ms=5.1), "latency", "p99 5.100 ms of 5 ms a row"),
    (lambda e: replace(e, refit_mean=e.refit_mean + 0.11), "refit", "moved the mean prediction by 0.110 of 0.1"),
    (lambda e: replace(e, refit_mean=float("nan")), "refit", "moved the mean prediction by nan"),
    (lambda e: replace(e, slices=e.slices | {"kind=red": {"rows": 100, "roc_auc": 0.54}}), "slices", "kind=red 0.540"),
]


@pytest.mark.parametrize(("change", "name", "says"), RULES, ids=[says for *_, says in RULES])
def test_each_rule_blocks_alone_and_says_what_it_measured(
    change: Change, name: str, says: str, challenger: Model, champion: Model
) -> None:
    for found in (evidence(challenger), evidence(challenger, champion)):
        verdict = judge(SPEC, change(found))
        assert verdict.outcome == "block"
        assert broken(verdict) == [name]
        assert says in verdict.reason


def test_a_slice_too_small_to_judge_is_not_judged(challenger: Model) -> None:
    few = evidence(challenger).slices | {"kind=red": {"rows": 99, "roc_auc": 0.1}}
    assert judge(SPEC, evidence(challenger, slices=few)).outcome == "promote"


def test_every_fault_is_in_the_reason(challenger: Model) -> None:
    verdict = judge(SPEC, evidence(challenger, p99_ms=9.0, parity=1.0))
    assert verdict.reason == "ONNX parity 1 of 0.0001; p99 9.000 ms of 5 ms a row"


def test_bad_calibration_blocks_unless_the_champion_is_as_bad(challenger: Model, champion: Model) -> None:
    """On days that surprise everybody, a challenger is not worse for it."""
    surprised = {"y": np.where(np.arange(len(HELD_OUT)) % 5 == 0, 1.0, HELD_OUT["late"])}
    both_off = judge(SPEC, evidence(challenger, champion, **surprised))
    assert rule(both_off, "calibration").held
    right = champion.predictions + (surprised["y"].mean() - champion.predictions.mean())
    alone_off = judge(SPEC, evidence(challenger, champion, champion=np.clip(right, 0, 1), **surprised))
    assert "calibration" in broken(alone_off)
    assert alone_off.outcome == "block"


def test_the_champions_own_model_is_a_tie_and_no_promotion(challenger: Model, champion: Model) -> None:
    for twin in (evidence(champion, champion), evidence(challenger, champion, challenger=champion.predictions)):
        verdict = judge(SPEC, twin)
        assert (verdict.outcome, verdict.reason) == ("keep", "a tie: it is the champion's own model")


def test_models_are_compared_only_on_days_that_the_champion_has_not_seen(challenger: Model, champion: Model) -> None:
    """Trained through the third day of the holdout, it would win those days by heart."""
    seen = HELD_OUT["_day"] < np.unique(HELD_OUT["_day"])[2]
    learnt = np.where(seen, HELD_OUT["late"].to_numpy(), champion.predictions)
    by_heart = row_hashes(pd.concat([BEFORE["_id"], HELD_OUT["_id"][seen]]))
    verdict = judge(SPEC, evidence(challenger, champion, champion=learnt, champion_trained_on=by_heart))
    assert verdict.outcome == "promote"
    assert "over 5 days" in verdict.reason


def test_too_few_blind_days_keep_the_champion(challenger: Model, champion: Model) -> None:
    one_row_a_day = HELD_OUT.groupby("_day")["_id"].first()[:3]
    verdict = judge(SPEC, evidence(challenger, champion, champion_trained_on=row_hashes(one_row_a_day)))
    assert verdict.outcome == "keep"
    assert verdict.reason == "the champion is blind to 4 of the holdout days, 5 needed"


def test_a_champion_that_has_broken_down_does_not_stay_for_ever(challenger: Model, champion: Model) -> None:
    gone = champion.predictions.copy()
    gone[5] = np.nan
    assert judge(SPEC, evidence(challenger, champion, champion=gone)).outcome == "promote"


def test_a_verdict_can_be_kept_as_json(challenger: Model, champion: Model) -> None:
    import json

    kept = json.loads(json.dumps(judge(SPEC, evidence(challenger, champion)).as_dict()))
    assert kept["outcome"] == "promote"
    assert {"name", "held", "says"} == set(kept["rules"][0])
