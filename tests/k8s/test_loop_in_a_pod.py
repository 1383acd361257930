"""`k8s/loop`, with a kubectl in its way that plays the cluster: which pod it makes, what it prints, how it ends."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.config import ROOT

pytestmark = pytest.mark.k8s
KUBECTL = shutil.which("kubectl")
SPEC = {"containers": [{"name": "base", "image": "closed-loop/pipeline:local"}], "restartPolicy": "Never"}
PLAYED = f"""#!/bin/sh
echo "$@" >> "$PLACE/asked"
case "$*" in
    patch*) exec {KUBECTL} "$@" ;;
    *"get podtemplate"*labels*) printf '{{"uses/mlflow":"true"}}' ;;
    *"get podtemplate"*) printf '%s' '{json.dumps(SPEC)}' ;;
    *create*) cat > "$PLACE/created" ;;
    *phase*) printf '%s' "$PHASE" ;;
    *logs*) echo "what loop says" ;;
    *describe*) printf 'Name: x\\nEvents:\\n  Failed to pull image\\n' ;;
    *exitCode*) printf '%s' "$CODE" ;;
esac
"""


def loop(place: Path, *words: str, phase: str = "Running", code: str = "0") -> "subprocess.CompletedProcess[str]":
    (place / "kubectl").write_text(PLAYED)
    (place / "kubectl").chmod(0o755)
    played = {"PLACE": str(place), "PHASE": phase, "CODE": code, "PATIENCE_S": "1"}
    environment = os.environ | played | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
    command = [str(ROOT / "k8s" / "loop"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def created(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / "created").read_text()))


def test_the_pod_is_that_of_a_task_with_another_command(tmp_path: Path) -> None:
    done = loop(tmp_path, "rollback", "--reason", 'it says "no" \\ again')
    assert (done.returncode, done.stdout, done.stderr) == (0, "what loop says\n", "")
    pod = created(tmp_path)
    assert pod["kind"] == "Pod"
    assert pod["metadata"]["labels"] == {"uses/mlflow": "true"}
    (container,) = pod["spec"]["containers"]
    assert container["args"] == ["loop", "rollback", "--reason", 'it says "no" \\ again']
    assert (container["image"], pod["spec"]["restartPolicy"]) == ("closed-loop/pipeline:local", "Never")


def test_it_ends_as_loop_ends_and_leaves_no_pod(tmp_path: Path) -> None:
    assert loop(tmp_path, "history", code="3").returncode == 3
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[-1].startswith("--namespace closed-loop delete pod loop-")


def test_a_pod_that_does_not_start_says_why(tmp_path: Path) -> None:
    done = loop(tmp_path, "history", phase="Pending")
    assert done.returncode == 1
    assert "did not start within 1 s" in done.stderr
    assert "Failed to pull image" in done.stderr
    assert "delete pod" in (tmp_path / "asked").read_text()


def test_a_word_never_becomes_a_command(tmp_path: Path) -> None:
    words = [f"$(touch {tmp_path}/made)", "`id`"]
    loop(tmp_path, "history", *words)
    assert created(tmp_path)["spec"]["containers"][0]["args"] == ["loop", "history", *words]
    assert not (tmp_path / "made").exists()
