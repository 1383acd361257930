"""Settings, parameters and problem files: a typo is an error that names the key, the value and what was expected."""

from datetime import date
from pathlib import Path

import pytest

from core.config import Settings, params, read_yaml, settings
from core.errors import ConfigError
from core.schema import ProblemSpec
from problems import FOLDER, load


def test_without_settings_everything_is_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOOP_HOME", str(tmp_path / "place"))
    found = settings()
    assert found.store_url == f"sqlite:///{tmp_path}/place/loop.db"
    assert found.remote_url == f"{tmp_path}/place/remote"
    assert found.reports_dir == tmp_path / "place/reports"


@pytest.mark.parametrize(
    ("name", "near"), [("LOOP_MLFLOW_ULR", "LOOP_MLFLOW_URL"), ("LOOP_DATABSE_URL", "LOOP_DATABASE_URL")]
)
def test_a_misspelt_variable_is_refused_and_the_near_one_named(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigError, match=f"{name} is not a setting; did you mean {near}"):
        settings()


def test_a_variable_like_no_other_lists_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_QQQQ", "x")
    with pytest.raises(ConfigError, match="known: LOOP_AIRFLOW_PORT, "):
        settings()


def test_a_value_of_the_wrong_kind_names_key_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_POLL_S", "often")
    with pytest.raises(ConfigError, match=r"poll_s: .*valid number.*'often'"):
        settings()


def test_an_env_file_is_read_and_its_typos_are_refused_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    file.write_text("LOOP_MLFLOW_URL=http://there:1\n")
    assert settings().mlflow_url == "http://there:1"
    file.write_text("LOOP_MLFLOW_ULR=http://there:1\n")
    with pytest.raises(ConfigError, match="LOOP_MLFLOW_ULR is not a setting; did you mean LOOP_MLFLOW_URL"):
        settings()


def test_an_env_file_may_hold_other_tools_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    file.write_text("POSTGRES_PASSWORD=x\nLOOP_POLL_S=2\n")
    assert settings().poll_s == 2


def test_a_variable_left_empty_is_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_AIRFLOW_PORT", "")  # as compose passes on what is not set
    assert settings().airflow_port is None


def test_params_are_typed(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text('problem: flights\nas_of: "2013-04-01"\ncandidates: [hgb]\n')
    assert params(tmp_path).as_of == date(2013, 4, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("problem: flights\nas_of: tomorrow\ncandidates: [hgb]", "as_of: .*date.*'tomorrow'"),
        ("problem: flights\nasof: 2013-04-01\nas_of: 2013-04-01\ncandidates: [hgb]", "asof: Extra inputs"),
        ("problem: flights\nas_of: 2013-04-01\ncandidates: []", "candidates: .*at least 1 item"),
        ("as_of: 2013-04-01\ncandidates: [hgb]", "problem: Field required"),
        ("problem: [", "not valid YAML"),
        ("", r"\(whole file\)"),
    ],
)
def test_a_mistake_in_params_is_explained(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        params(tmp_path)


def test_params_that_are_not_there_say_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="root of the repository"):
        params(tmp_path)


# problem.yaml ---------------------------------------------------------------------------------------------------------


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (FOLDER / "flights/problem.yaml").read_text()
    assert old in text
    path = tmp_path / "problem.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("worse_t: 1.0", "worst_t: 1.0", r"gate\.worst_t: Extra inputs .*got '1\.0'"),
        ("min_days: 5", "min_days: five", r"gate\.min_days: .*integer.*'five'"),
        (
            "kind: category",
            "kind: categorical",
            r"features\.carrier\.kind: .*'category' or 'array'.*'categorical'",
        ),
        ("percent: 10", "percent: 110", r"canary\.percent: .*less than or equal to 100.*'110'"),
        ("id: flight_id", "id: flihgt_id", "id is 'flihgt_id', which is not among columns"),
        ("slices: [origin", "slices: [orign", "slice 'orign' is not among features"),
        ("metric: log_loss", "metric: logloss", "logloss is no metric of a binary problem; there are: log_loss, brier"),
        ("metric: roc_auc", "metric: r2", "r2 is no metric of a binary problem"),
        ("task: binary", "task: multiclass", "roc_auc is no metric of a multiclass problem"),
        ("metric: log_loss", "metric: log_loss\n  quantile: 0.9", r"gate\.quantile is for regression"),
        ("{type: number,", "{type: array,", r"columns\.distance: .*an array needs a shape"),
        ("metric: roc_auc", "metric: auc", r"gate\.slice_floor\.metric: .*'roc_auc', 'pr_auc'.*'auc'"),
    ],
)
def test_a_typo_in_problem_yaml_names_the_key_the_value_and_what_was_expected(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        read_yaml(changed(tmp_path, old, new), ProblemSpec)


def test_a_problem_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no problem 'fligths'.*flights"):
        load("fligths")


def test_the_setting_goes_before_params_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_PROBLEM", "nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        load()
