"""Which candidate wins, and which is not even considered."""

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelRefused
from pipeline.evaluate import BASELINE, choose, evaluate
from pipeline.features import holdout_rows
from pipeline.train import FACTS
from tests.serving.models import bundle
from tests.toy import AS_OF, frame, spec

DAYS = np.repeat(np.arange(7), 10)
NOISE = np.random.default_rng(0).normal(0, 0.01, 70)


def pick(off: dict[str, float] | None = None, sizes: dict[str, int] | None = None, **behind: float) -> str:
    """Candidates that are `behind` by so much every day, with a common noise that the pairing removes."""
    jitter = np.repeat([0.01, -0.01, 0.01, -0.01, 0.01, -0.01, 0.0], 10)  # one standard error is 0.0035
    losses = {name: 0.5 + NOISE + (0 if value == 0 else value + jitter) for name, value in behind.items()}
    sizes = sizes or {"small": 1, "middle": 10, "large": 100}
    winner, reason = choose(losses, DAYS, sizes, {name: (off or {}).get(name, 0.0) for name in losses}, 0.05)
    assert winner in reason
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


# evaluate -------------------------------------------------------------------------------------------------------------


def candidate(folder: Path, name: str, probability: float, fault: str = "", refused: str | None = None) -> Path:
    made = bundle(spec(), folder / name, probability, fault)
    (made / FACTS).write_text(json.dumps({"refused": refused}))
    return made


def test_a_refused_candidate_is_left_out_with_its_reason(tmp_path: Path) -> None:
    held_out = holdout_rows(spec(), frame(), AS_OF)
    held_out.loc[3, "size"] = 9999.0  # the faulty graph answers NaN above 5000
    models = {
        "good": candidate(tmp_path, "good", 0.45),
        "nan": candidate(tmp_path, "nan", 0.45, fault="nan"),
        "parity": candidate(tmp_path, "parity", 0.45, refused="its ONNX graph differs from the original by 0.3"),
        "swapped": candidate(tmp_path, "swapped", 0.45),
    }
    (models["swapped"] / "model.onnx").write_bytes((candidate(tmp_path, "x", 0.9) / "model.onnx").read_bytes())
    found, predictions = evaluate(spec(), held_out, 0.4, models)
    assert found["winner"] == "good"
    assert found["refused"]["nan"] == "it predicts NaN or infinity on the holdout"
    assert found["refused"]["parity"] == "its ONNX graph differs from the original by 0.3"
    assert found["refused"]["swapped"].startswith("self-test")
    assert set(found["metrics"]) == {BASELINE, "good"}
    assert len(predictions) == len(held_out) == found["rows"]
    assert set(found["slices"]) == {"kind=blue", "kind=green", "kind=red"}


def test_when_every_candidate_is_refused_nothing_wins(tmp_path: Path) -> None:
    models = {"a": candidate(tmp_path, "a", 0.4, refused="too odd"), "b": candidate(tmp_path, "b", 0.4, refused="no")}
    with pytest.raises(ModelRefused, match="every candidate is refused: a: too odd; b: no"):
        evaluate(spec(), holdout_rows(spec(), frame(), AS_OF), 0.4, models)
