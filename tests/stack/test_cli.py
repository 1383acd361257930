"""The command line at its edges: quick help, one message for an error, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

from core.config import ROOT

HEAVY = ("mlflow", "torch", "evidently", "airflow", "pandas", "sklearn", "dvc")


def loop(home: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "LOOP_HOME": str(home), **variables}
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_help_names_the_commands(tmp_path: Path) -> None:
    done = loop(tmp_path, "--help")
    assert done.returncode == 0
    assert all(f" {name} " in done.stdout for name in ("up", "down", "status"))


def test_nothing_heavy_is_imported_before_a_command_needs_it() -> None:
    code = f"import sys, pipeline.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_status_and_down_without_a_stack_say_so(tmp_path: Path) -> None:
    assert "No stack is running" in loop(tmp_path, "status").stdout
    assert "Nothing was running" in loop(tmp_path, "down").stdout


def test_a_mistake_is_one_message_and_exit_code_1(tmp_path: Path) -> None:
    done = loop(tmp_path, "status", LOOP_HOEM="x")
    assert done.returncode == 1
    assert done.stderr.strip() == "LOOP_HOEM is not a setting; did you mean LOOP_HOME?"
