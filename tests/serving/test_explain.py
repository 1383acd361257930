"""`/predict?explain=true`: contributions that add up to the answer, for every task; and who gets none."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.database import connect
from core.predictions import PREDICTIONS
from pipeline.features import holdout_rows, holdout_start, training_rows
from pipeline.train import train
from serving.schemas import example
from serving.server import BATCHES_WAITING
from tests.serving import toys
from tests.serving.conftest import Serve
from tests.serving.models import bundle
from tests.serving.process import ServerHere
from tests.serving.toys import Toy
from tests.toy import AS_OF, TASKS, frame, spec

EXPLAINED = "/predict?explain=true"
ODD = {"size": 90.5, "kind": "red", "who": "d", "rain": 7.5}  # far from the training's medians


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By task: a bundle that training made."""
    return {task: _train(task, tmp_path_factory.mktemp(task) / "bundle") for task in TASKS}


def _train(task: str, folder: Path) -> Path:
    problem, rows = spec(task=task), frame(task=task)
    before, held_out = training_rows(rows, holdout_start(problem, AS_OF)), holdout_rows(problem, rows, AS_OF)
    assert train(problem, "hgb", before, held_out, folder).facts["refused"] is None
    return folder


def explained(server: ServerHere, row: dict[str, Any]) -> dict[str, Any]:
    answer = server.post(EXPLAINED, row)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(server: ServerHere, row: dict[str, Any], status: int, path: str = EXPLAINED) -> str:
    answer = server.post(path, row)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == "explain"
    return str(answer.json()["errors"][0]["message"])


def total(answer: dict[str, Any]) -> float:
    return float(answer["baseline"] + sum(answer["contributions"].values()))


def said(answer: dict[str, Any]) -> float:
    """What is explained."""
    if "probabilities" in answer:
        return float(answer["probabilities"][answer["label"]])
    return float(answer.get("probability", answer.get("value")))


@pytest.mark.parametrize("task", list(TASKS))
def test_contributions_and_baseline_add_up_to_the_answer(task: str, trained: dict[str, Path], serve: Serve) -> None:
    problem = spec(task=task)
    server = serve(Toy(problem), trained[task])
    for change in (ODD, {"size": None, "kind": "never seen"}, {"size": 50.0, "rain": 0.5}):
        found = explained(server, example(problem) | change)
        assert list(found["contributions"]) == list(problem.features)
        assert total(found) == pytest.approx(said(found), rel=1e-6, abs=1e-6)
    largest = explained(server, example(problem) | ODD)["contributions"]
    assert max(largest, key=lambda name: abs(largest[name])) == "size"


def test_an_explained_answer_is_the_plain_one_with_two_fields_more(trained: dict[str, Path], serve: Serve) -> None:
    problem = spec()
    server, row = serve(Toy(problem), trained["binary"]), example(problem) | ODD
    first, second, plain = explained(server, row), explained(server, row), server.post("/predict", row).json()
    assert set(first) - set(plain) == {"contributions", "baseline"}
    for name in ("event_id", "probability", "model_version", "role", "missing", "unknown"):
        assert first[name] == plain[name]
    assert (first["contributions"], first["baseline"]) == (second["contributions"], second["baseline"])
    assert "contributions" not in server.post("/predict?explain=false", row).json()


def test_an_explained_answer_is_in_the_log(trained: dict[str, Path], serve: Serve, tmp_path: Path) -> None:
    server = serve(Toy(spec()), trained["binary"])
    id = explained(server, example(spec()))["prediction_id"]
    server.wait("/readyz", pending_rows=0)
    with connect(f"sqlite:///{tmp_path / 'home' / 'loop.db'}").connect() as connection:
        assert [row.id for row in connection.execute(select(PREDICTIONS.c.id))] == [id]


def test_the_model_that_answered_is_the_one_that_is_explained(
    trained: dict[str, Path], serve: Serve, tmp_path: Path
) -> None:
    """A constant canary: nothing moves it."""
    server = serve(Toy(spec()), trained["binary"], bundle(spec(), tmp_path / "constant", 0.25))
    found = explained(server, example(spec()) | ODD)
    assert (found["role"], found["baseline"]) == ("canary", 0.25)
    assert set(found["contributions"].values()) == {0.0}


def test_a_model_that_was_registered_without_a_typical_row_says_so(serve: Serve, tmp_path: Path) -> None:
    server = serve(Toy(spec()), bundle(spec(), tmp_path / "old", 0.25, background=False))
    message = refused(server, example(spec()), 409)
    assert "model version 1 cannot be explained: it has no typical row" in message
    assert server.post("/predict", example(spec())).status_code == 200


def test_a_model_of_an_array_is_not_explained(serve: Serve, tmp_path: Path) -> None:
    toy = toys.image()
    server = serve(toy, bundle(toy.spec, tmp_path / "image", [0.2, 0.5, 0.3]))
    assert "models of tables; this one reads an array" in refused(server, example(toy.spec), 422)
    post = server.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert "parameters" not in post


def test_a_parameter_that_is_no_truth_value_is_named(trained: dict[str, Path], serve: Serve) -> None:
    server = serve(Toy(spec()), trained["binary"])
    assert "boolean" in refused(server, example(spec()), 422, "/predict?explain=perhaps")


def test_the_documentation_has_the_parameter_and_both_answers(trained: dict[str, Path], serve: Serve) -> None:
    document = serve(Toy(spec()), trained["binary"]).get("/openapi.json").json()
    post = document["paths"]["/predict"]["post"]
    (parameter,) = post["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("explain", "query", False)
    assert {"200", "409", "422", "503"} <= set(post["responses"])
    answers = post["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [answer["$ref"].rpartition("/")[2] for answer in answers] == ["Prediction", "Explained"]
    fields = document["components"]["schemas"]["Explained"]["properties"]
    assert set(fields) - set(document["components"]["schemas"]["Prediction"]["properties"]) == {
        "contributions",
        "baseline",
    }


def test_with_all_places_taken_an_explanation_is_sent_away_and_a_plain_request_answered(
    trained: dict[str, Path], serve: Serve
) -> None:
    server = serve(Toy(spec()), trained["binary"])
    with ExitStack() as taken:
        for _ in range(BATCHES_WAITING):
            taken.enter_context(server.parts.admitted())
        assert server.post(EXPLAINED, example(spec())).status_code == 503
        assert server.post("/predict", example(spec())).status_code == 200
    explained(server, example(spec()))
