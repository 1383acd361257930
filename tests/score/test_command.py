"""`loop score` as a process: killed and gone on with, refused, and what its exit code says."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import problems
from core.schema import ProblemSpec
from serving.schemas import example
from tests.serving.models import bundle
from tests.serving.process import ROOT
from tests.serving.registry import FakeRegistry

ROWS = 600_000
Score = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def spec() -> ProblemSpec:
    return problems.load("flights").spec


@pytest.fixture
def registry(spec: ProblemSpec, tmp_path: Path) -> Iterator[FakeRegistry]:
    """Version 1 is the champion and says 0.25, version 2 says 0.75."""
    fake = FakeRegistry("flights")
    for version, probability in (("1", 0.25), ("2", 0.75)):
        fake.register(version, bundle(spec, tmp_path / version, probability))
    fake.release("1")
    yield fake
    fake.close()


@pytest.fixture
def score(registry: FakeRegistry, tmp_path: Path) -> Score:
    def run(*options: object, kill_after: int | None = None) -> "subprocess.CompletedProcess[str]":
        """`kill_after`: bytes of the journal at which it is killed."""
        places = {"LOOP_HOME": str(tmp_path / "home"), "LOOP_MLFLOW_URL": registry.url, "LOOP_PROBLEM": "flights"}
        command = [sys.executable, "-m", "pipeline.cli", "score", *map(str, options)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | places, **pipes) as process:  # type: ignore[call-overload]
            if kill_after is not None:
                _kill(process, tmp_path / "out.parquet.progress", kill_after)
            said, complained = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, said, complained)

    return run


def _kill(process: "subprocess.Popen[str]", journal: Path, size: int) -> None:
    until = time.monotonic() + 60
    while not journal.exists() or journal.stat().st_size < size:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)


def flights(spec: ProblemSpec, path: Path, rows: int = ROWS) -> Path:
    """One flight again and again, but for its id."""
    row = example(spec) | {"distance": 1400.0}
    frame = pd.DataFrame([row]).loc[np.zeros(rows, int)].assign(flight_id=[f"f{i}" for i in range(rows)])
    frame.to_parquet(path, index=False)
    return path


def test_a_run_that_is_killed_goes_on_and_its_output_is_the_same_to_the_byte(
    spec: ProblemSpec, score: Score, registry: FakeRegistry, tmp_path: Path
) -> None:
    table, output, whole = flights(spec, tmp_path / "in.parquet"), tmp_path / "out.parquet", tmp_path / "whole.parquet"
    for megabytes in (1, 5):
        killed = score("--input", table, "--output", output, kill_after=megabytes * 1_000_000)
        assert killed.returncode == -signal.SIGKILL
        assert not output.exists()
        registry.release("2")  # what was begun stays with its model
    with (tmp_path / "out.parquet.progress").open("ab") as journal:
        journal.write(b"half a frame")
    resumed = score("--input", table, "--output", output)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{ROWS:,} rows scored by version 1" in resumed.stdout
    assert " were there" in resumed.stdout
    assert score("--input", table, "--output", whole, "--version", 1).returncode == 0
    assert output.read_bytes() == whole.read_bytes()
    assert pq.read_table(output)["id"].to_pylist() == [f"f{i}" for i in range(ROWS)]
    assert {path.name for path in tmp_path.glob("*parquet*")} == {"in.parquet", "out.parquet", "whole.parquet"}


def test_rejected_rows_are_counted_in_the_exit_code_and_listed_beside_the_output(
    spec: ProblemSpec, score: Score, tmp_path: Path
) -> None:
    table = flights(spec, tmp_path / "in.parquet", 10)
    pd.read_parquet(table).assign(distance=[1.0] * 9 + [-5.0]).to_csv(tmp_path / "in.csv", index=False)
    done = score("--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv", "--version", 2)
    assert done.returncode == 3, done.stderr
    assert "1 rows were refused" in done.stdout
    assert "look-up weather had nothing for 9 of 9 rows" in done.stdout
    assert pd.read_csv(tmp_path / "out.csv")["probability"].tolist() == [0.75] * 9
    (row,) = pd.read_csv(tmp_path / "out.rejected.csv").to_dict("records")
    assert row == {"source": "in.csv", "row": 10, "id": "f9", "reason": "distance: expected at least 1, got -5"}


def test_an_output_that_exists_is_kept_unless_it_may_be_replaced(
    spec: ProblemSpec, score: Score, tmp_path: Path
) -> None:
    table, output = flights(spec, tmp_path / "in.parquet", 10), tmp_path / "out.parquet"
    assert score("--input", table, "--output", output).returncode == 0
    again = score("--input", table, "--output", output)
    assert again.returncode == 1
    assert "exists; name another file, or replace it with --force" in again.stderr
    assert score("--input", table, "--output", output, "--force", "--version", 2).returncode == 0
    assert pd.read_parquet(output)["probability"].tolist() == [0.75] * 10


def test_what_was_begun_with_another_table_or_version_is_not_mixed(
    spec: ProblemSpec, score: Score, tmp_path: Path
) -> None:
    table, output = flights(spec, tmp_path / "in.parquet"), tmp_path / "out.parquet"
    score("--input", table, "--output", output, kill_after=1_000_000)
    other = score("--input", table, "--output", output, "--version", 2)
    assert "was begun with another version" in other.stderr
    flights(spec, table, 20)
    changed = score("--input", table, "--output", output)
    assert "was begun with another input" in changed.stderr
    assert changed.returncode == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--input", "nowhere.csv", "--output", "out.csv"], "is no file, and no folder"),
        (["--input", "sqlite:///x.db", "--output", "out.csv"], "say with --table"),
        (["--input", "README.md", "--output", "no/such/out.csv"], "is no folder"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(options: list[str], says: str, score: Score) -> None:
    done = score(*options)
    assert done.returncode == 1
    assert says in " ".join(done.stderr.split())
