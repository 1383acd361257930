"""`loop use` rewrites three lines of params.yaml and nothing else; both commands answer like the others."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import ConfigError, DataError
from pipeline.cli import app
from pipeline.onboarding.use import use
from problems import load

PARAMS = """# What a run is about.
problem: other # the problem
as_of: "2020-01-01"
candidates: [one, two]   # who competes
"""


def test_params_name_the_problem_its_demo_and_its_candidates_and_comments_stay(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    spec = load("flights").spec
    chosen = use("flights", tmp_path)
    assert spec.demo is not None
    assert (chosen.problem, chosen.as_of, chosen.candidates) == ("flights", spec.demo.first_day, list(spec.candidates))
    assert (tmp_path / "params.yaml").read_text() == (
        "# What a run is about.\nproblem: flights # the problem\n"
        f'as_of: "{spec.demo.first_day}"\ncandidates: [{", ".join(spec.candidates)}]   # who competes\n'
    )


def test_an_unknown_problem_names_those_that_are_near(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    with pytest.raises(DataError, match="problem 'flight' is not in problems/; did you mean 'flights'"):
        use("flight", tmp_path)
    assert (tmp_path / "params.yaml").read_text() == PARAMS


def test_a_params_file_that_lacks_a_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("problem: other\n")
    with pytest.raises(ConfigError, match=r"params\.yaml has 0 lines as_of:, expected one"):
        use("flights", tmp_path)


def test_loop_init_prints_what_it_found_and_what_to_check(folder: Path, tmp_path: Path) -> None:
    from tests.onboarding.unlike import cars

    words = ["init", "--data", str(cars(tmp_path)), "--target", "Miles_per_Gallon", "--name", "autos"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    for told in (
        "406 rows; predict Miles_per_Gallon, a number (regression)",
        '"Gewicht" → Gewicht',
        "311 different texts",
        "Año is taken for the time of an event",
        "units of 5 number columns",
        "LABEL_DELAY_DAYS in data.py is 0",
        "loop use autos && make demo",
    ):
        assert told in done.output, told
    assert sorted(path.name for path in (folder / "autos").iterdir() if path.name != "__pycache__") == [
        *("__init__.py", "data.py", "features.py", "problem.yaml", "tests"),
    ]
