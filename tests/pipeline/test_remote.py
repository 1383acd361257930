"""The DVC remote in MLflow's artifact store: a real MLflow server, real stages, no folder in common."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from core import lineage
from core.artifacts import Artifacts
from core.errors import RegistryUnavailable
from core.lineage import Locks
from tests.pipeline.conftest import PARAMS, Lake


@pytest.fixture
def remote(own_mlflow_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("LOOP_MLFLOW_URL", own_mlflow_url)
    return f"mlflow-artifacts:/dvc/{tmp_path.name}"


@pytest.fixture
def store(own_mlflow_url: str) -> Artifacts:
    return Artifacts(own_mlflow_url)


def written(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_files_come_back_by_hash(remote: str, tmp_path: Path) -> None:
    sent = lineage.push_files(remote, [written(tmp_path, f"{i}.bin", bytes([i]) * i) for i in range(1, 30)])
    lineage.fetch_files(remote, {f"back/{f['size']}": f["md5"] for f in sent}, tmp_path)
    assert [(tmp_path / "back" / str(i)).read_bytes() for i in range(1, 30)] == [bytes([i]) * i for i in range(1, 30)]


def test_a_file_that_is_there_is_not_sent_again(
    remote: str, store: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written(tmp_path, "old", b"as before")
    lineage.push_files(remote, [old])
    puts: list[str] = []
    put = Artifacts.put
    monkeypatch.setattr(Artifacts, "put", lambda self, file, path: (puts.append(path), put(self, file, path)))
    sent = lineage.push_files(remote, [old, written(tmp_path, "new", b"new"), written(tmp_path, "twin", b"new")])
    assert len(puts) == 1
    assert puts[0].endswith(sent[1]["md5"][2:])
    assert sent[1] == sent[2]


def test_a_big_file_goes_and_comes_in_pieces(remote: str, tmp_path: Path) -> None:
    size, digest = 300 * 2**20, hashlib.md5()
    with (tmp_path / "big").open("wb") as file:
        for _ in range(300):
            piece = os.urandom(2**20)
            digest.update(piece)
            file.write(piece)
    (sent,) = lineage.push_files(remote, [tmp_path / "big"])
    assert sent == {"md5": digest.hexdigest(), "size": size}
    lineage.fetch_files(remote, {"back": sent["md5"]}, tmp_path)
    assert (tmp_path / "back").stat().st_size == size
    with (tmp_path / "back").open("rb") as file:
        assert hashlib.file_digest(file, "md5").hexdigest() == sent["md5"]


def test_a_missing_file_is_missed_at_once(remote: str, store: Artifacts, tmp_path: Path) -> None:
    lineage.push_files(remote, [written(tmp_path, "one", b"one")])
    began = time.monotonic()
    with pytest.raises(FileNotFoundError):
        lineage.fetch_files(remote, {"back": "0" * 32}, tmp_path)
    with pytest.raises(FileNotFoundError):
        store.read("dvc/nowhere/at all")
    assert store.files("dvc/nowhere") == {}
    assert time.monotonic() - began < 5


def test_a_server_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOP_MLFLOW_URL", "http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailable, match=r"MLflow does not answer at http://127\.0\.0\.1:9"):
        lineage.push_files("mlflow-artifacts:/dvc", [written(tmp_path, "one", b"one")])


def moved(lake: Lake, remote: str, folder: Path) -> dict[str, Any]:
    """The lake's raw data in another remote: the same data version."""
    lineage.pull(folder, [lake.version], lake.remote)
    files = sorted(path for path in (folder / "data/raw").rglob("*") if path.is_file())
    sent = lineage.push_files(remote, files)
    names = [str(path.relative_to(folder / "data/raw")) for path in files]
    return lineage.push_folder_listing(remote, dict(zip(names, sent, strict=True)))


def test_stages_run_from_it_alone_and_give_the_same_bits_as_from_a_folder(
    remote: str, store: Artifacts, lake: Lake, locks: Locks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = moved(lake, remote, tmp_path / "moved")
    assert raw == lake.version
    found: Locks = {}
    for stage in ("validate", "features", "train@logistic"):
        found |= {stage: lineage.run_stage(stage, PARAMS, raw, found, remote)}
    assert {name: found[name]["outs"][0] for name in found} == {name: locks[name]["outs"][0] for name in found}
    asked = counted(monkeypatch)
    again = {stage: lineage.run_stage(stage, PARAMS, raw, before(found, stage), remote) for stage in found}
    assert again == found, "even the seconds of the fit: nothing was run twice"
    assert len(asked) < 2 * raw["nfiles"] + 3 * 20, "the files that two stages read, and a few requests for each stage"
    lineage.pull(tmp_path / "back", lineage.outputs(found, "data/features.parquet", "models/logistic"), remote)
    assert (tmp_path / "back/models/logistic/model.onnx").stat().st_size > 0
    assert set(store.files(remote.removeprefix("mlflow-artifacts:/"))) == {"files", "runs"}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each request to MLflow's store from now on."""
    asked: list[int] = []
    answer = Artifacts._answer
    monkeypatch.setattr(Artifacts, "_answer", lambda self, ask: (asked.append(1), answer(self, ask))[1])
    return asked


def before(locks: Locks, stage: str) -> Locks:
    names = list(locks)
    return {name: locks[name] for name in names[: names.index(stage)]}
