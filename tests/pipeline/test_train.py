"""Every candidate: an ONNX graph that agrees with the original, the same bits each time, and a refusal where not."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from core.config import ROOT
from core.errors import ConfigError
from core.runtime import OnnxModel, open_session
from pipeline import candidates
from pipeline.candidates import FUNCTIONS
from pipeline.features import holdout_rows, holdout_start, training_rows
from pipeline.train import REFERENCE_ROWS, ROWS, columns, contract, parity, reference, row_hashes, train
from tests.toy import AS_OF, frame, spec

SPEC = spec()
FRAME = frame()
TRAINING = training_rows(FRAME, holdout_start(SPEC, AS_OF))
HELD_OUT = holdout_rows(SPEC, FRAME, AS_OF)


def unusual(rows: int = 400) -> pd.DataFrame:
    """Rows with all that is odd: NaN everywhere, unseen and empty categories, huge numbers."""
    odd = HELD_OUT.head(rows).copy()
    odd.loc[::3, "size"] = np.nan
    odd.loc[::4, "rain"] = np.nan
    odd.loc[1::5, "kind"] = "never seen"
    odd.loc[2::5, "who"] = ""
    odd.loc[3::7, "size"] = 1e6
    odd.loc[4::7, "size"] = -1e6
    return odd


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_every_candidate_is_exported_faithfully_and_learns_something(name: str) -> None:
    X, y = TRAINING[list(SPEC.features)], TRAINING["late"].to_numpy()
    fitted = candidates.fit(name, SPEC.features, X, y, SPEC.candidates[name])
    graph = fitted.to_onnx()
    odd = unusual()
    assert parity(SPEC, graph, fitted.predict(odd[list(SPEC.features)]), odd) < 1e-4
    predictions = OnnxModel(open_session(graph), contract(SPEC, TRAINING)).predict(columns(SPEC, HELD_OUT))
    assert np.corrcoef(predictions, HELD_OUT["late"])[0, 1] > 0.3


FIT_ALL = """
import hashlib, json, sys
from pathlib import Path
from core.runtime import SERVING_FILES
from pipeline.train import ROWS
from tests.pipeline.test_train import FUNCTIONS, HELD_OUT, SPEC, TRAINING, train
for name in FUNCTIONS:
    train(SPEC, name, TRAINING, HELD_OUT, Path(sys.argv[1], name))
files = (*SERVING_FILES, ROWS, "training.json")
paths = [Path(sys.argv[1], name, file) for name in FUNCTIONS for file in files]
print(json.dumps({f"{path.parent.name}/{path.name}": hashlib.md5(path.read_bytes()).hexdigest() for path in paths}))
"""


def test_every_candidate_fitted_in_another_process_gives_the_same_bits(tmp_path: Path) -> None:
    """Processes differ in the seed of their hashes, so in the order of every set."""

    def bits(seed: int) -> dict[str, str]:
        command = [sys.executable, "-W", "ignore", "-c", FIT_ALL, str(tmp_path / str(seed))]
        env = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    first = bits(1)
    assert len(first) == 5 * len(FUNCTIONS)
    assert bits(5) == first  # with 5 the set of the graph's operator sets comes in the other order


def test_the_facts_say_what_it_was_trained_on(tmp_path: Path) -> None:
    done = train(SPEC, "hgb", TRAINING, HELD_OUT, tmp_path / "hgb")
    assert done.facts["rows"] == len(TRAINING)
    assert (done.facts["first_day"], done.facts["last_day"]) == ("2013-04-01", "2013-04-17")
    assert done.facts["base_rate"] == pytest.approx(TRAINING["late"].mean())
    assert done.facts["refused"] is None
    assert 0 < done.cost["p50_ms"] <= done.cost["p99_ms"]
    assert np.array_equal(np.load(tmp_path / "hgb" / ROWS), row_hashes(TRAINING["_id"]))


def test_a_candidate_that_nobody_wrote_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no candidate 'xgb'; there are: logistic, forest, hgb, mlp"):
        candidates.fit("xgb", SPEC.features, TRAINING, TRAINING["late"].to_numpy(), {})


def test_the_reference_is_a_sample_of_the_training_rows_with_predictions_and_residuals(tmp_path: Path) -> None:
    train(SPEC, "hgb", TRAINING, HELD_OUT, tmp_path / "hgb")
    sample = reference(SPEC, TRAINING, tmp_path / "hgb")
    assert len(sample) == min(REFERENCE_ROWS, len(TRAINING))
    assert abs(sample["residual"].mean()) < 0.02
    assert sample["prediction"].between(0, 1).all()


# refusals -------------------------------------------------------------------------------------------------------------


@dataclass
class Broken:
    """A candidate whose graph or predictions are changed on the way out."""

    fitted: Any
    shift: float = 0.0
    nan: bool = False

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        found: np.ndarray = self.fitted.predict(X) + self.shift
        return np.where(np.arange(len(X)) == 7, np.nan, found) if self.nan else found

    def to_onnx(self) -> bytes:
        return bytes(self.fitted.to_onnx())


def refusal(fitted: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patched:
        patched.setattr(candidates, "fit", lambda *_: fitted)
        facts = train(SPEC, "hgb", TRAINING, HELD_OUT, folder / "bad").facts
    assert not (folder / "bad" / "model.onnx").exists(), "a refused model must not be there to be served"
    return str(facts["refused"])


@pytest.fixture(scope="module")
def fitted() -> Any:
    return candidates.fit(
        "hgb", SPEC.features, TRAINING[list(SPEC.features)], TRAINING["late"].to_numpy(), SPEC.candidates["hgb"]
    )


def test_a_graph_that_disagrees_with_the_original_is_refused(
    fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = refusal(Broken(fitted, shift=2e-4), tmp_path, monkeypatch)
    assert reason == "its ONNX graph differs from the original by 0.0002 (allowed: 0.0001)"


def test_a_model_that_predicts_nan_is_refused(fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(Broken(fitted, nan=True), tmp_path, monkeypatch) == "it predicts NaN or infinity on held-out rows"


def test_a_graph_that_alone_emits_nan_is_refused(fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = onnx.load_from_string(fitted.to_onnx())
    output = graph.graph.output[1].name
    assert output == "probabilities"
    for node in graph.graph.node:  # its probabilities, through the logarithm of a negative number
        for i, name in enumerate(node.output):
            if name == output:
                node.output[i] = "before"
    graph.graph.node.extend(
        [onnx.helper.make_node("Neg", ["before"], ["minus"]), onnx.helper.make_node("Log", ["minus"], [output])]
    )

    class NanGraph(Broken):
        def to_onnx(self) -> bytes:
            return bytes(graph.SerializeToString())

    assert "differs from the original by nan" in refusal(NanGraph(fitted), tmp_path, monkeypatch)
