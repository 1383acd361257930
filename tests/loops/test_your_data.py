"""Tables that the template has never seen go through `loop init`, `loop use` and the whole loop; nothing is edited.

Not part of `make test`: `make test-loops` runs it, some minutes a table. `loop demo` itself fails unless every
transition was seen: first champion served, every night judged, a retraining asked for, started by Airflow and ended.
"""

import subprocess
from pathlib import Path

import pytest

from tests.loops import tables
from tests.loops.checkout import copy, loop

pytestmark = [pytest.mark.loops, pytest.mark.timeout(1500)]
QUICK = ["tests/docs", "tests/core", "tests/stack", "tests/serving", "problems/mine"]
CASES = {  # the longest first, so that two at a time end together
    "regression-from-sql": (tables.hourly_weather, ["--target", "humid", "--time", "time_hour"]),
    "multiclass-a-row-a-day": (tables.weather_types, ["--target", "weather", "--time", "date"]),
    "binary-by-arrival": (tables.affairs, ["--target", "Had an affair?"]),
}


def test_on_images_the_network_wins_and_a_turned_world_is_learnt(tmp_path: Path) -> None:
    """problems/digits: from some day on the images arrive rotated and noisy; the monitor sees it and retrains."""
    checkout = copy(tmp_path / "checkout")
    loop(checkout, "use", "digits")
    said = loop(checkout, "demo", timeout_s=1200)
    print(said)
    assert "cnn" in said.partition("first life cycle")[2].partition("served: champion version 1")[0]


@pytest.mark.parametrize("case", CASES)
def test_a_table_goes_through_the_whole_loop_untouched(case: str, tmp_path: Path) -> None:
    write, words = CASES[case]
    checkout, data = copy(tmp_path / "checkout"), tmp_path / "data"
    data.mkdir()
    untouched = contents(checkout)
    print(loop(checkout, "init", "--data", str(write(data)), *words, "--name", "mine"))
    assert {name for name, text in contents(checkout).items() if untouched.get(name) != text} == {
        name for name in contents(checkout) if name.startswith("problems/mine/")
    }
    loop(checkout, "use", "mine")
    print(loop(checkout, "demo", timeout_s=1200))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_template_s_own_checks_pass_with_another_problem_in_use(tmp_path: Path) -> None:
    """What `make check` and a part of `make test` look at, in a checkout whose params.yaml names a new problem."""
    checkout = copy(tmp_path / "checkout")
    loop(checkout, "init", "--data", str(tables.affairs(tmp_path)), "--target", "Had an affair?", "--name", "mine")
    loop(checkout, "use", "mine")
    for command in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["pytest", "-q", *QUICK]):
        done = subprocess.run(["python", "-m", *command], cwd=checkout, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
