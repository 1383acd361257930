"""Stages in isolated workspaces: the same bits as `dvc repro`, nothing done twice, everything restorable by hash."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from core import lineage
from core.config import ROOT
from core.errors import DataError
from core.lineage import Locks
from tests.pipeline.conftest import AS_OF, CANDIDATES, PARAMS, Lake, run_stages


def without_timings(locks: Locks) -> Locks:
    """What a fit cost in seconds differs from run to run, and nothing depends on it."""
    return {
        name: {**entry, "outs": [out for out in entry["outs"] if not out["path"].startswith("timings/")]}
        for name, entry in locks.items()
    }


def test_the_stages_are_those_of_dvc_yaml(locks: Locks) -> None:
    assert list(locks) == ["validate", "features", "train@logistic", "train@hgb", "evaluate", "refit"]
    assert lineage.stage_names() == ["validate", "features", "train", "evaluate", "refit"]


def test_the_winner_learnt_something(locks: Locks, lake: Lake, tmp_path: Path) -> None:
    lineage.pull(tmp_path, lineage.outputs(locks, "evaluation"), lake.remote)
    found = json.loads((tmp_path / "evaluation/metrics.json").read_text())
    assert found["winner"] in CANDIDATES
    assert found["refused"] == {}
    assert found["days"] == 7
    assert found["metrics"][found["winner"]]["roc_auc"]["value"] > 0.6


def test_dvc_repro_in_a_checkout_gives_the_same_bits(locks: Locks, untouched: Lake, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    ours = ("core", "problems", "pipeline", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml")
    for name in ours:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, checkout / name)
    params = yaml.safe_load((checkout / "params.yaml").read_text()) | {"candidates": CANDIDATES}
    (checkout / "params.yaml").write_text(yaml.safe_dump(params))
    env = os.environ | {"LOOP_HOME": str(untouched.home), "PYTHONPATH": str(checkout)}

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-3000:]}"

    run("git", "init", "--quiet")
    run("python", "-m", "pipeline.cli", "data", "pull", AS_OF.isoformat())
    run("dvc", "repro")
    by_hand = lineage.from_lock_file((checkout / "dvc.lock").read_text())
    assert without_timings(by_hand) == without_timings(locks)


def test_a_second_run_with_nothing_changed_trains_nothing(locks: Locks, lake: Lake) -> None:
    """Even the seconds that the fits took are those of the first run."""
    assert run_stages(lake, lake.remote) == locks


KILLED = """
import sys, yaml
from pathlib import Path
from core import lineage
from core.config import Params
given = yaml.safe_load(Path(sys.argv[1]).read_text())
lineage.run_stage("train@hgb", Params(**given["params"]), given["raw"], given["locks"], given["remote"])
"""


def test_a_training_killed_in_the_middle_and_run_again_gives_the_same_bits(
    locks: Locks, lake: Lake, tmp_path: Path
) -> None:
    with training(locks, lake, tmp_path) as process:
        wait_for_training(process)
        os.killpg(process.pid, signal.SIGKILL)
    before = {name: locks[name] for name in ("validate", "features")}
    entry = lineage.run_stage("train@hgb", PARAMS, lake.version, before, str(tmp_path / "remote"))
    assert without_timings({"train@hgb": entry}) == without_timings({"train@hgb": locks["train@hgb"]})
    assert entry != locks["train@hgb"], "it was not trained again, so nothing was shown"


def test_a_stage_killed_as_by_the_kernel_says_in_words_what_to_change(locks: Locks, lake: Lake, tmp_path: Path) -> None:
    process = training(locks, lake, tmp_path)
    wait_for_training(process)
    for child in psutil.Process(process.pid).children(recursive=True):
        if "pipeline.train" in " ".join(child.cmdline()):
            child.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "OutOfMemory: stage train@hgb was killed (SIGKILL), as happens when memory runs out" in said
    assert "Give it more" in said


def training(locks: Locks, lake: Lake, folder: Path) -> "subprocess.Popen[str]":
    """The stage train@hgb in a process of its own. No earlier run is remembered, so it has to train."""
    remote = folder / "remote"
    shutil.copytree(lake.remote, remote)
    shutil.rmtree(remote / "runs")
    before = {name: locks[name] for name in ("validate", "features")}
    given = {"params": PARAMS.model_dump(mode="json"), "raw": lake.version, "locks": before, "remote": str(remote)}
    (folder / "given.yaml").write_text(yaml.safe_dump(given))
    (folder / "tmp").mkdir()
    env = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    command = [sys.executable, "-c", KILLED, str(folder / "given.yaml")]
    return subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, text=True, stderr=subprocess.PIPE)


def wait_for_training(process: "subprocess.Popen[str]") -> None:
    """Until the stage's own process has been at it for a moment."""
    until = time.monotonic() + 60
    while not [p for p in children(process) if "pipeline.train" in p]:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)
    assert process.poll() is None, "it was done before it could be killed"


def children(process: "subprocess.Popen[str]") -> list[str]:
    try:
        return [" ".join(child.cmdline()) for child in psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def test_everything_comes_back_from_a_lock_and_the_remote_alone(locks: Locks, lake: Lake, tmp_path: Path) -> None:
    text = lineage.as_lock_file(locks)  # as it is attached to the MLflow run
    again = lineage.from_lock_file(text)
    assert again == locks
    entries = [lineage.raw_entry(again), *lineage.outputs(again, "data/features.parquet", "refit")]
    lineage.pull(tmp_path / "back", entries, lake.remote)
    back = tmp_path / "back"
    assert len(list((back / "data/raw").iterdir())) == (AS_OF - pd.Timestamp("2013-01-01").date()).days
    assert {"model.onnx", "contract.json", "example.json", "rows.npy", "reference.parquet", "training.json"} <= {
        path.name for path in (back / "refit").iterdir()
    }
    facts = json.loads((back / "refit/training.json").read_text())
    assert facts["last_day"] == "2013-02-05"
    assert facts["rows"] <= len(pd.read_parquet(back / "data/features.parquet"))


def test_a_lock_without_what_is_asked_for_says_what_it_has(locks: Locks) -> None:
    with pytest.raises(DataError, match=r"the lock holds no models/mlp; it has .*models/hgb"):
        lineage.outputs(locks, "models/mlp")
    with pytest.raises(DataError, match="the lock names no raw data"):
        lineage.raw_entry({"evaluate": locks["evaluate"]})


def test_the_models_never_saw_the_holdout(locks: Locks, lake: Lake, tmp_path: Path) -> None:
    import numpy as np

    lineage.pull(tmp_path, lineage.outputs(locks, "evaluation", *(f"models/{n}" for n in CANDIDATES)), lake.remote)
    held_out: Any = pd.read_parquet(tmp_path / "evaluation/predictions.parquet")["_id"]
    hashes = pd.util.hash_array(held_out.to_numpy(object), categorize=False)
    for name in CANDIDATES:
        assert not np.isin(hashes, np.load(tmp_path / "models" / name / "rows.npy")).any()
