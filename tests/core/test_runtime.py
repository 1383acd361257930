"""The model runtime: a bundle answers as when it was made, or it is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from core.errors import ModelRefused
from core.runtime import EXAMPLE, SERVING_FILES, OnnxModel, digest, open_session
from tests.serving.models import FAULT_ABOVE, bundle
from tests.toy import spec


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return bundle(spec(), tmp_path / "bundle", 0.25)


def test_a_bundle_answers_as_when_it_was_made(made: Path) -> None:
    model = OnnxModel.load(made, spec())
    rows = {"size": [1.0, np.nan], "rain": [np.nan, 0.0], "kind": ["red", "new"], "who": ["", "é"]}
    answers = model.predict({name: np.array(values) for name, values in rows.items()})
    assert answers.tolist() == [0.25, 0.25]
    assert answers.dtype == np.float32


def test_a_graph_that_answers_otherwise_than_its_example_is_refused(made: Path) -> None:
    example = json.loads((made / EXAMPLE).read_text())
    example["predictions"][0] += 1e-3
    (made / EXAMPLE).write_text(json.dumps(example))
    with pytest.raises(ModelRefused, match=r"self-test: .*differ from the recorded ones by 0\.001"):
        OnnxModel.load(made, spec())


def test_a_graph_that_answers_nan_is_refused(tmp_path: Path) -> None:
    made = bundle(spec(), tmp_path / "nan", 0.25, fault="nan")
    example = json.loads((made / EXAMPLE).read_text())
    example["inputs"]["size"] = [FAULT_ABOVE + 1] * 2
    (made / EXAMPLE).write_text(json.dumps(example))
    with pytest.raises(ModelRefused, match=r"self-test: .*nan"):
        OnnxModel.load(made, spec())


@pytest.mark.parametrize("place", ["secret.bin", "./secret.bin", "../{here}/secret.bin", "{path}/secret.bin"])
def test_a_graph_cannot_read_a_file_of_this_machine(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.bin").write_bytes(b"secret!" * 100)
    monkeypatch.chdir(tmp_path)
    weights = onnx.TensorProto(name="weights", data_type=onnx.TensorProto.UINT8, dims=[700], data_location=1)
    about = {"location": place.format(here=tmp_path.name, path=tmp_path), "offset": "0", "length": "700"}
    weights.external_data.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in about.items())
    rows = helper.make_tensor_value_info("rows", onnx.TensorProto.INT64, [None])
    read = helper.make_tensor_value_info("read", onnx.TensorProto.UINT8, [None])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["weights", "rows"], ["read"])], "g", [rows], [read], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(Exception, match="External data path"):
        open_session(model.SerializeToString())


def test_the_digest_is_of_the_serving_files_and_of_nothing_else(made: Path) -> None:
    before = digest(made)
    (made / "rows.npy").write_bytes(b"of no interest to the server")
    assert digest(made) == before
    for name in SERVING_FILES:
        kept = (made / name).read_bytes()
        (made / name).write_bytes(kept + b" ")
        assert digest(made) != before, name
        (made / name).write_bytes(kept)
    assert digest(made) == before


@pytest.mark.parametrize(
    ("task", "made", "expected"),
    [
        ("binary", 0.25, [0.25, 0.25]),
        ("multiclass", [0.5, 0.25, 0.25], [[0.5, 0.25, 0.25]] * 2),
        ("regression", 1000.0, [1000.0, 1000.0]),
    ],
)
def test_a_bundle_answers_in_the_shape_of_its_task(task: str, made: Any, expected: Any, tmp_path: Path) -> None:
    problem = spec(task=task)
    model = OnnxModel.load(bundle(problem, tmp_path / "bundle", made), problem)
    rows = {"size": [1.0, 2.0], "rain": [0.0, 0.0], "kind": ["red", "red"], "who": ["a", "b"]}
    predictions, embedding = model.predict_and_embed({name: np.array(values) for name, values in rows.items()})
    assert predictions.tolist() == expected
    assert embedding == {}


def test_a_bundle_made_for_another_task_or_other_classes_is_refused(made: Path) -> None:
    with pytest.raises(ModelRefused, match="it was made for binary \\[\\], the problem is regression now"):
        OnnxModel.load(made, spec(task="regression"))
