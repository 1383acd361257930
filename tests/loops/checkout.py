"""A copy of the checkout, to work in as a user would: what git tracks and what it would, without the environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from core.config import ROOT
from pipeline.stack.ports import any_free

SERVERS = ("AIRFLOW", "MLFLOW", "SERVING")


def copy(target: Path) -> Path:
    """Copy the tree to `target`; return it."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), listed):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


def loop(checkout: Path, *words: str, timeout_s: float = 120) -> str:
    """Run `loop` in the copy, with none of the tests' own settings; return what it printed.

    On ports of its own: of two stacks that start at once both would take the usual ones for free.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LOOP_", "AIRFLOW", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=checkout,
        env=env | {f"LOOP_{server}_PORT": str(any_free()) for server in SERVERS} | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"loop {' '.join(words)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout
