"""From one prediction's id to where it came from, and the same prediction again: real MLflow, store and server."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import Engine, delete, update
from typer.testing import CliRunner

from core import decisions, online, predictions
from core.config import Settings
from core.database import connect
from core.errors import DataError, ModelRefused
from core.predictions import PREDICTIONS
from core.registry import Registry
from core.releases import BUNDLE, ReleaseReader
from core.schema import ProblemSpec
from pipeline.cli import app
from pipeline.features import holdout_rows, holdout_start, training_rows
from pipeline.train import train
from pipeline.why import gather, recompute, show
from serving.schemas import example
from tests.serving import toys
from tests.serving.models import bundle
from tests.serving.process import ServerHere
from tests.serving.toys import Toy
from tests.toy import AS_OF, COLUMNS, frame, spec

SALT = "a long and secret salt"
NAMES = (f"why-{number}" for number in itertools.count())
RAIN_AT = 1364770800  # 2013-03-31T23:00:00Z, an hour before the example's time
HELD = {"name": "days", "held": True, "says": "7 holdout days, 5 needed"}
VERDICT = {"outcome": "promote", "reason": "no champion yet, and every rule held", "rules": [HELD]}


@dataclass
class World:
    """A problem whose one model is registered in MLflow and answers."""

    problem: Toy
    home: Path
    mlflow_url: str
    registry: Registry
    server: ServerHere
    engine: Engine

    @property
    def reader(self) -> ReleaseReader:
        return ReleaseReader(self.mlflow_url, self.problem.spec.name)

    def ask(self, *rows: dict[str, Any]) -> list[str]:
        """Ids of predictions that are in the store: of one request, where there are several rows of a batch."""
        path, body = ("/predict", rows[0]) if len(rows) == 1 else ("/predict/batch", {"rows": rows})
        answer = self.server.post(path, body)
        assert answer.status_code == 200, answer.text
        self.server.wait("/readyz", pending_rows=0)
        found = answer.json()
        return [one["prediction_id"] for one in found.get("predictions", [found])]

    def why(self, id: str) -> gather.Why:
        return gather.why(self.engine, self.reader, self.problem.spec, self.spool, id)

    def replay(self, id: str) -> recompute.Replay:
        return recompute.replay(self.engine, self.reader, self.problem, self.why(id).prediction)

    def tamper(self, id: str, **change: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(PREDICTIONS).where(PREDICTIONS.c.id == id).values(**change))

    @property
    def spool(self) -> Path:
        return self.home / "serving" / self.problem.spec.name / "spool"

    def close(self) -> None:
        self.server.stop()
        self.engine.dispose()


def world(problem: Toy, folder: Path, mlflow_url: str, made: Path, **settings: Any) -> World:
    """`made`: the bundle; `settings`: of the server, which is there once it knows the rain."""
    registry = Registry(mlflow_url, problem.spec.name)
    run = registry.lifecycle_run("the first night", {})
    tags = {"candidate": "logistic", "as_of": str(AS_OF), "data_version": "d" * 32, "revision": "r" * 40}
    version = registry.register(run, made, {**tags, "lifecycle": "the first night"})
    registry.attach(run, "verdict.json", {"version": version, **VERDICT})
    registry.promote(version, "test", "the first", {})
    engine = connect(Settings(home=folder / "home").store_url)
    rain = {"key": "w", "available_at": RAIN_AT, "values": {"rain": 0.1}}
    if problem.spec.lookups:
        online.write(engine, problem.spec.name, "weather", [rain])
    server = ServerHere(folder / "home", mlflow_url, problem, **settings)
    server.ready()
    return World(problem, folder / "home", mlflow_url, registry, server, engine)


def named(problem: Toy) -> Toy:
    """The same under a name of its own: models are registered by it."""
    return Toy(problem.spec.model_copy(update={"name": next(NAMES)}))


def trained(problem: Toy, folder: Path, candidate: str = "logistic") -> Path:
    rows = frame(task=problem.spec.task)
    before, held_out = training_rows(rows, holdout_start(problem.spec, AS_OF)), holdout_rows(problem.spec, rows, AS_OF)
    assert train(problem.spec, candidate, before, held_out, folder).facts["refused"] is None
    return folder


@pytest.fixture(scope="module")
def toy(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two classes, a logistic regression: its graph rounds otherwise in a batch."""
    folder, problem = tmp_path_factory.mktemp("why"), named(Toy(spec()))
    made = world(problem, folder, mlflow_url, trained(problem, folder / "bundle"))
    yield made
    made.close()


@pytest.fixture
def asked(toy: World) -> str:
    """The example's prediction."""
    return toy.ask(example(toy.problem.spec))[0]


def values(found: recompute.Replay) -> dict[str, tuple[Any, Any]]:
    """What really differs."""
    return {one.what: (one.logged, one.replayed) for one in found.differences if not one.rounding}


# why ------------------------------------------------------------------------------------------------------------------


def test_one_id_leads_to_everything_that_is_known(toy: World, asked: str) -> None:
    found = toy.why(asked)
    assert found.prediction["inputs"] == example(toy.problem.spec)
    assert (found.prediction["role"], found.prediction["outcome"]) == ("champion", None)
    by_name = {one.name: one for one in found.seen}
    assert list(by_name) == ["size", "rain", "kind", "who"]
    assert (by_name["rain"].value, by_name["rain"].source) == (pytest.approx(0.1), "look-up weather")
    assert by_name["rain"].as_of == "2013-03-31T23:00:00Z"
    assert (by_name["size"].value, by_name["size"].source, by_name["size"].notes) == (1, "sent", [])
    assert by_name["who"].notes == ["unknown"]
    origin = found.origin
    assert (origin.version, origin.run) == ("1", toy.registry.run_of("1"))
    assert (origin.candidate, origin.lifecycle) == ("logistic", "the first night")
    assert (origin.as_of, origin.first_day, origin.last_day, origin.rows) == (
        "2013-04-25",
        "2013-04-01",
        "2013-04-17",
        17 * 250,
    )
    assert (origin.data_version, origin.revision, origin.options) == ("d" * 32, "r" * 40, {"C": 0.1})
    assert found.verdict == {"version": "1", **VERDICT}
    assert found.drift is None


def test_what_is_missing_and_what_was_sent_is_marked(toy: World) -> None:
    row = example(toy.problem.spec) | {"who": "nobody", "rain": 0.7}
    del row["size"]
    by_name = {one.name: one for one in toy.why(*toy.ask(row)).seen}
    assert (by_name["size"].value, by_name["size"].notes) == (None, ["missing"])
    assert (by_name["rain"].value, by_name["rain"].source, by_name["rain"].as_of) == (pytest.approx(0.7), "sent", None)


def test_the_drift_is_what_was_known_when_it_was_answered(toy: World, asked: str) -> None:
    at, spec = toy.why(asked).prediction["served_at"], toy.problem.spec
    common = {"problem": spec.name, "champion": "1", "report": None}
    for day, made_at, drifted in ((1, at - 9, {"rain": 9.0}), (2, at - 5, {"size": 0.31}), (3, at + 5, {"kind": 7.0})):
        evidence = {"drifted": drifted, "rows": 500}
        row = {"as_of": date(2013, 4, day), "made_at": made_at, "decision": "ignore", "reasons": [f"reason {day}"]}
        decisions.record(toy.engine, {**common, **row, "evidence": evidence})
    found = toy.why(asked)
    assert found.drift
    assert (found.drift["as_of"], found.drift["reasons"]) == (date(2013, 4, 2), ["reason 2"])
    assert {one.name: one.notes for one in found.seen}["size"] == ["drift 0.31"]


def test_an_outcome_is_told_once_it_is_known(toy: World) -> None:
    (id,) = toy.ask(example(toy.problem.spec) | {"id": "with an outcome"})
    outcome = {"problem": toy.problem.spec.name, "event_id": "with an outcome", "outcome": 1.0}
    predictions.add_outcomes(toy.engine, [{**outcome, "known_on": date(2013, 4, 2)}])
    found = toy.why(id).prediction
    assert (found["outcome"], found["known_on"]) == (1.0, date(2013, 4, 2))


def test_an_id_that_nobody_knows_is_a_clear_error(toy: World) -> None:
    with pytest.raises(DataError, match="the store has no prediction 0123"):
        toy.why("0123")


def test_a_prediction_that_is_not_shipped_yet_is_said_to_be_on_its_way(toy: World) -> None:
    with (toy.spool / "999999999999.jsonl").open("w") as file:
        file.write('{"id": "0123456789abcdef"}\n')
    with pytest.raises(DataError, match="0123456789abcdef is in the server's spool and not in the store yet"):
        toy.why("0123456789abcdef")
    (toy.spool / "999999999999.jsonl").unlink()


def test_a_prediction_of_another_problem_names_it(toy: World, asked: str) -> None:
    other = toy.problem.spec.model_copy(update={"name": "other"})
    with pytest.raises(DataError, match=f"is of problem {toy.problem.spec.name}; set LOOP_PROBLEM"):
        gather.why(toy.engine, toy.reader, other, toy.spool, asked)


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_a_terminal(toy: World, asked: str, width: int, capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=width, highlight=False).print(show.page(toy.why(asked), toy.problem.spec))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    whole = " ".join(printed.split())
    for words in ("weather 2013-03-31 23:00", "2013-04-01 to 2013-04-17, 4,250 labelled events", "r" * 40):
        assert words in whole
    assert "no champion yet" in whole
    assert "unknown" in whole


# replay ---------------------------------------------------------------------------------------------------------------


def test_a_single_prediction_is_replayed_bit_for_bit(toy: World, asked: str) -> None:
    found = toy.replay(asked)
    assert (found.basis, found.differences) == ("inputs", [])
    assert found.compared == len(["as of", "size", "rain", "kind", "who", "score", "label"])


def test_rows_of_a_batch_are_replayed_one_by_one_but_for_the_rounding_of_their_sums(toy: World) -> None:
    base = example(toy.problem.spec)
    rows = [base | {"size": size / 7, "who": "abcd"[size % 4], "kind": "blue"} for size in range(1, 40)]
    found = [toy.replay(id) for id in toy.ask(*rows)]
    assert all(one.equal for one in found)
    off = [difference.off for one in found for difference in one.differences]
    assert max(map(float, filter(None, off)), default=0.0) < 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"at": "2013-04-01T05:30:00+05:30"},
        {"at": "2013-03-31T19:30:00.999999-04:30"},
        {"rain": 0.30000000000000004},
        {"size": 1 / 3},
        {"who": "größe \u2028 \U0001f6eb"},
        {"kind": None, "size": None},
    ],
)
def test_what_is_logged_is_enough_to_replay_it(toy: World, change: dict[str, Any]) -> None:
    found = toy.replay(*toy.ask(example(toy.problem.spec) | change))
    assert found.differences == []


def test_a_lookup_row_that_came_later_changes_nothing(toy: World, asked: str) -> None:
    later = {"key": "w", "available_at": RAIN_AT + 60, "values": {"rain": 9.0}}
    online.write(toy.engine, toy.problem.spec.name, "weather", [later])
    assert toy.replay(asked).differences == []


def test_a_lookup_row_that_is_gone_is_named(toy: World) -> None:
    row = {"key": "gone", "available_at": RAIN_AT, "values": {"rain": 5.0}}
    online.write(toy.engine, toy.problem.spec.name, "weather", [row])
    toy.server.wait("/release", lookups_id=online.newest(toy.engine, toy.problem.spec.name))
    (id,) = toy.ask(example(toy.problem.spec) | {"who": "gone"})
    assert toy.replay(id).differences == []
    with toy.engine.begin() as connection:
        connection.execute(delete(online.ROWS).where(online.ROWS.c.key == "gone"))
    found = values(toy.replay(id))
    assert found["look-up weather as of"] == ("2013-03-31T23:00:00Z", None)
    assert found["feature rain"] == (5.0, None)


def test_a_changed_feature_is_named_with_both_values(toy: World, asked: str) -> None:
    features = toy.why(asked).prediction["features"]
    toy.tamper(asked, features=features | {"size": 1.0001})
    found = toy.replay(asked)
    assert not found.equal
    assert values(found) == {"feature size": (1.0001, 1.0)}


def test_a_changed_input_changes_its_feature_and_the_score(toy: World, asked: str) -> None:
    logged = toy.why(asked).prediction
    toy.tamper(asked, inputs=logged["inputs"] | {"size": 90.0})
    assert set(values(toy.replay(asked))) == {"feature size", "score"}


def test_a_changed_score_is_named(toy: World, asked: str) -> None:
    score = toy.why(asked).prediction["score"]
    toy.tamper(asked, score=score + 1e-4)
    assert values(toy.replay(asked)) == {"score": pytest.approx((score + 1e-4, score), rel=1e-6)}


def test_files_that_are_not_those_that_were_registered_are_refused(toy: World, tmp_path: Path, asked: str) -> None:
    run = toy.registry.run_of("1")
    original = toy.registry.download("1", BUNDLE, tmp_path / "original")
    forged = trained(toy.problem, tmp_path / "forged", "hgb")
    toy.registry._client.log_artifacts(run, str(forged), BUNDLE)
    with pytest.raises(ModelRefused, match="do not match the digest"):
        toy.replay(asked)
    toy.registry._client.log_artifacts(run, str(original), BUNDLE)
    assert toy.replay(asked).equal


@pytest.mark.parametrize("candidate", ["forest", "hgb", "mlp"])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_every_task_is_explained_and_replayed(task: str, candidate: str, mlflow_url: str, tmp_path: Path) -> None:
    problem = named(Toy(spec(task=task)))
    made = world(problem, tmp_path, mlflow_url, trained(problem, tmp_path / "bundle", candidate))
    rows = [example(problem.spec) | {"size": size} for size in range(20, 80)]
    found = [(made.why(id), made.replay(id)) for id in made.ask(*rows)[::10]]
    made.close()
    assert all(replayed.equal for _, replayed in found)
    assert found[0][1].compared == 7 + len(problem.spec.classes)
    whole = printed(found[0][0], problem)
    assert ("probabilities: " if task == "multiclass" else "late 9") in whole or " min" in whole


def test_an_image_its_embedding_and_the_time_of_arrival_are_replayed(mlflow_url: str, tmp_path: Path) -> None:
    """The log has no array but the request's; the time was filled in by the server."""
    problem = named(toys.image())
    graph = bundle(problem.spec, tmp_path / "bundle", [0.2, 0.5, 0.3], embedding=True)
    made = world(problem, tmp_path, mlflow_url, graph)
    row = example(problem.spec) | {"pixels": [0.1, 7, 255, 3.3, 1e-3, 0]}
    del row["at"]
    (id,) = made.ask(row)
    found, replayed = made.why(id), made.replay(id)
    made.close()
    assert replayed.differences == []
    assert {one.name for one in found.seen} == {"size", "kind", "pixels_mean"}
    assert [one.name for one in found.seen if not one.fed] == ["pixels_mean"]
    assert found.prediction["features"]["embedding_0"] == pytest.approx(sum([0.1, 7, 255, 3.3, 1e-3, 0]) / 6, rel=1e-6)
    assert found.prediction["inputs"]["at"]
    assert "6 numbers: 0.1, 7, 255, 3.3, 0.001, 0" in printed(found, problem)


def hiding(**columns: dict[str, Any]) -> Toy:
    """The binary toy with sensitive columns."""
    return named(Toy(spec(**{name: column | {"sensitive": True} for name, column in columns.items()})))


def test_a_prediction_whose_sensitive_column_feeds_no_model_is_replayed_from_its_features(
    mlflow_url: str, tmp_path: Path
) -> None:
    problem = hiding(phone={"type": "string", "description": "of the caller", "example": "1"})
    made = world(problem, tmp_path, mlflow_url, trained(problem, tmp_path / "bundle"), salt=SALT)
    (id,) = made.ask(example(problem.spec) | {"phone": "0171 4711"})
    found, replayed = made.why(id), made.replay(id)
    made.close()
    assert (replayed.basis, replayed.differences) == ("features", [])
    page = printed(found, problem)
    assert "sensitive, logged as the hash" in page
    assert "4711" not in page


def test_a_prediction_whose_model_reads_what_is_sensitive_says_why_it_cannot_be_replayed(
    mlflow_url: str, tmp_path: Path
) -> None:
    problem = hiding(kind=COLUMNS["kind"])
    made = world(problem, tmp_path, mlflow_url, trained(problem, tmp_path / "bundle"), salt=SALT)
    (id,) = made.ask(example(problem.spec))
    found = made.why(id)
    with pytest.raises(DataError, match=r"only hashes of kind are logged.* of the model's features not kind"):
        made.replay(id)
    made.close()
    assert {one.name: one.notes for one in found.seen}["kind"] == ["not logged"]


def test_a_feature_that_is_not_logged_is_not_missed(mlflow_url: str, tmp_path: Path) -> None:
    plain = spec().model_dump()
    hidden = {"features": plain["features"] | {"rain": {"kind": "number", "sensitive": True}}}
    problem = named(Toy(ProblemSpec.model_validate(plain | hidden)))
    made = world(problem, tmp_path, mlflow_url, trained(problem, tmp_path / "bundle"))
    replayed = made.replay(*made.ask(example(problem.spec)))
    made.close()
    assert (replayed.basis, replayed.differences) == ("inputs", [])


# the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(toy: World, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """`loop` of the toy's world."""
    monkeypatch.setattr("problems.load", lambda: toy.problem)
    monkeypatch.setenv("LOOP_HOME", str(toy.home))
    monkeypatch.setenv("LOOP_MLFLOW_URL", toy.mlflow_url)
    return CliRunner()


def test_the_command_replays_and_ends_well(cli: CliRunner, asked: str) -> None:
    done = cli.invoke(app, ["why", asked, "--replay"])
    assert done.exit_code == 0, done.output
    assert asked in done.output
    assert "replayed: equal, all 7 values bit for bit, from the logged inputs" in " ".join(done.output.split())


def test_the_command_says_what_differs_and_fails(cli: CliRunner, toy: World, asked: str) -> None:
    toy.tamper(asked, score=0.999)
    done = cli.invoke(app, ["why", asked, "--replay"])
    assert done.exit_code == 1
    assert "replayed: different" in done.output
    assert "0.999" in done.output


def test_the_command_speaks_json(cli: CliRunner, toy: World, asked: str) -> None:
    done = cli.invoke(app, ["why", asked, "--replay", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["prediction"]["id"] == asked
    assert found["origin"]["version"] == "1"
    assert (found["replay"]["equal"], found["replay"]["differences"]) == (True, [])


def printed(found: gather.Why, problem: Toy) -> str:
    console = Console(width=120, highlight=False)
    with console.capture() as capture:
        console.print(show.page(found, problem.spec))
    return " ".join(capture.get().split())
