"""Answers, documentation and the prediction log of every task."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.database import connect
from core.predictions import PREDICTIONS
from core.schema import Feature
from serving.answers import prediction_model
from serving.schemas import example
from tests.serving import toys
from tests.serving.conftest import Serve
from tests.serving.models import FAULT_ABOVE, Prediction, bundle
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry
from tests.serving.toys import NAMES, Toy

Saying = Callable[..., ServerHere]
CLASSES = [0.2, 0.5, 0.3]
TASKS: list[tuple[Callable[[], Toy], Prediction, dict[str, Any]]] = [
    (toys.binary, 0.75, {"label": "late", "probability": 0.75}),
    (toys.image, CLASSES, {"label": "on time", "probabilities": {"early": 0.2, "on time": 0.5, "late": 0.3}}),
    (toys.regression, -1234.5, {"value": -1234.5}),
]


@pytest.fixture
def saying(serve: Serve, tmp_path: Path) -> Saying:
    """A server of a toy problem whose champion always predicts the same; `canary` is a fault of a second version."""

    def make(toy: Toy, prediction: Prediction, canary: str = "", **more: Any) -> ServerHere:
        good = bundle(toy.spec, tmp_path / "1", prediction, **more)
        return serve(toy, good, *([bundle(toy.spec, tmp_path / "2", prediction, canary)] if canary else []))

    return make


def logged(server: ServerHere, tmp_path: Path) -> list[dict[str, Any]]:
    """Stops the server."""
    server.stop()
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        rows = connection.execute(select(PREDICTIONS).order_by(PREDICTIONS.c.id)).mappings()
        return [dict(row) for row in rows]


def said(answer: dict[str, Any]) -> dict[str, Any]:
    common = {"prediction_id", "event_id", "model_version", "role", "missing", "unknown"}
    return {name: value for name, value in answer.items() if name not in common}


def rounded(content: Any) -> Any:
    """Probabilities are float32."""
    return json.loads(json.dumps(content), parse_float=lambda text: round(float(text), 6))


@pytest.mark.parametrize(("make", "prediction", "wanted"), TASKS)
def test_an_answer_says_what_its_documentation_says(
    saying: Saying, make: Callable[[], Toy], prediction: Prediction, wanted: dict[str, Any]
) -> None:
    toy = make()
    server, model = saying(toy, prediction), prediction_model(toy.spec)
    schemas = server.get("/openapi.json").json()["components"]["schemas"]
    answer = server.post("/predict", schemas["ToyRow"]["example"]).json()
    assert rounded(said(answer)) == wanted
    assert set(answer) == set(schemas["Prediction"]["properties"]) == set(schemas["Prediction"]["example"])
    for shown in (answer, schemas["Prediction"]["example"]):
        assert model.model_validate(shown).model_dump() == shown
    batch = server.post("/predict/batch", schemas["ToyBatch"]["example"]).json()["predictions"]
    assert said(batch[0]) == said(answer)


def test_named_classes_of_two_have_a_label_and_the_second_ones_probability(saying: Saying) -> None:
    toy = toys.binary()
    answer = saying(toy, 0.75).post("/predict", example(toy.spec)).json()
    assert said(answer) == {"label": "late", "probability": 0.75}
    about = prediction_model(toy.spec).model_json_schema()["properties"]
    assert about["probability"]["description"] == "Probability that late is late."
    assert about["label"]["enum"] == ["on time", "late"]


def test_a_number_is_described_with_its_unit() -> None:
    about = prediction_model(toys.regression().spec).model_json_schema()["properties"]
    assert about["value"]["description"] == "Predicted late (min)."
    assert "minimum" not in about["value"]


def test_a_probability_that_rounding_lifts_above_one_is_one(saying: Saying) -> None:
    toy = toys.binary()
    assert saying(toy, 1.0000002).post("/predict", example(toy.spec)).json()["probability"] == 1


def test_of_many_classes_the_log_keeps_every_probability_the_label_and_what_is_watched(
    saying: Saying, tmp_path: Path
) -> None:
    toy = toys.image()
    server = saying(toy, CLASSES, embedding=True)
    sent = example(toy.spec) | {"pixels": [[0, 10, 20], [30, 40, 50.5]]}
    assert server.post("/predict", sent).json()["missing"] == []
    (row,) = logged(server, tmp_path)
    assert (row["label"], row["outputs"]) == ("on time", pytest.approx(CLASSES))
    assert row["score"] == pytest.approx(0.5)
    assert row["features"] == {"size": 1.0, "kind": "red"} | dict.fromkeys(
        ("pixels_mean", "embedding_0"), pytest.approx(150.5 / 6)
    )
    assert row["inputs"] == sent | {"pixels": [0, 10, 20, 30, 40, 50.5]}
    assert [type(number) for number in row["inputs"]["pixels"]] == [int] * 5 + [float]


def test_a_number_has_neither_label_nor_outputs(saying: Saying, tmp_path: Path) -> None:
    toy = toys.regression()
    server = saying(toy, -1234.5)
    server.post("/predict", example(toy.spec))
    (row,) = logged(server, tmp_path)
    assert (row["score"], row["label"], row["outputs"]) == (-1234.5, None, None)


@pytest.mark.parametrize("fault", ["raise", "nan"])
@pytest.mark.parametrize(("make", "prediction", "wanted"), TASKS)
def test_the_champion_answers_the_rows_that_the_canary_cannot(
    saying: Saying, tmp_path: Path, make: Callable[[], Toy], prediction: Prediction, wanted: dict[str, Any], fault: str
) -> None:
    toy = make()
    server = saying(toy, prediction, canary=fault)
    rows = [example(toy.spec), example(toy.spec) | {"size": FAULT_ABOVE + 1}]
    answers = server.post("/predict/batch", {"rows": rows[::-1]}).json()["predictions"]
    assert answers[0]["role"] == "champion"
    assert said(answers[0]).keys() == wanted.keys()
    failed = [row for row in logged(server, tmp_path) if row["error"]]
    assert {row["role"] for row in failed} == {"canary"}
    assert [(r["score"], r["label"], r["outputs"]) for r in failed] == [(None, None, None)] * len(failed)


def test_a_row_without_a_time_gets_the_moment_of_arrival(saying: Saying, tmp_path: Path) -> None:
    toy = toys.image()
    server = saying(toy, CLASSES)
    without = {name: value for name, value in example(toy.spec).items() if name != "at"}
    before = int(time.time())
    batch = [without | {"id": "0"}, without | {"id": "1", "at": None}, example(toy.spec) | {"id": "2"}]
    assert len(server.post("/predict/batch", {"rows": batch}).json()["predictions"]) == 3
    first, second, third = sorted(logged(server, tmp_path), key=lambda row: row["event_id"])
    assert before <= first["event_time"] == second["event_time"] <= time.time()
    filled = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(first["event_time"]))
    assert (first["inputs"], second["inputs"]) == tuple(without | {"id": i, "at": filled} for i in "01")
    assert str(first["day"]) == filled[:10]
    assert third["inputs"] == batch[2]


def test_columns_may_have_any_name(saying: Saying, tmp_path: Path) -> None:
    toy = toys.regression()
    server = saying(toy, 1.0)
    sent = example(toy.spec) | {name: f"the {name}" for name in NAMES}
    assert said(server.post("/predict", sent).json()) == {"value": 1.0}
    schema = server.get("/openapi.json").json()["components"]["schemas"]["ToyRow"]
    assert set(NAMES) <= set(schema["properties"])
    assert set(NAMES) - set(schema["required"]) == {"größe"}
    wrong = server.post("/predict", sent | {"größ": "x", "json": 7}).json()["errors"]
    assert [(item["field"], item["message"]) for item in wrong] == [
        ("json", "Input should be a valid string"),
        ("größ", "unknown field; did you mean größe?"),
    ]
    (row,) = logged(server, tmp_path)
    assert row["inputs"] == sent


def test_metrics_sum_the_scores_and_count_the_classes(saying: Saying) -> None:
    toy = toys.image()
    server = saying(toy, CLASSES)
    server.post("/predict/batch", {"rows": [example(toy.spec)] * 4})
    found = server.get("/metrics").text
    assert 'serving_score_sum{role="champion",version="1"} 2.0' in found
    assert 'serving_labels_total{label="on time",role="champion",version="1"} 4.0' in found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "binary", "classes": []}, "it was made for binary"),
        ({"classes": ["early", "on time", "never"]}, "'never'"),
        ({"target": "delay"}, "predicts 'delay'"),
        ({"name": "other"}, "is for problem 'other'"),
        ({"features": {"other": Feature(kind="number")}}, "features that this server does not make: other"),
        ({"features": {"pixels": Feature(kind="array", size=7)}}, "features that this server does not make: pixels"),
        ({"features": {"pixels": Feature(kind="number")}}, "features that this server does not make: pixels"),
    ],
)
def test_a_model_of_another_problem_is_refused_in_words(
    saying: Saying, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    toy = toys.image()
    registry = FakeRegistry(toy.spec.name)
    other = toy.spec.model_copy(update=change)
    registry.register("1", bundle(other, tmp_path / "other", 0.5 if change.get("task") else CLASSES))
    registry.release("1")
    server = ServerHere(tmp_path / "home", registry.url, toy)
    assert words in server.wait_reason("refused")
    server.kill()
    registry.close()
