"""The only DVC import: partitions into the remote, one stage in a throw-away workspace, data back from a lock.

One Airflow task runs one stage (ADR 2): the lock entries of the stages before it come in, its inputs are pulled by
hash, the stage is reproduced, its outputs are pushed, and its own lock entry goes out. No folder is shared.
"""

import contextlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from core import memory
from core.config import ROOT, Params
from core.errors import DataError, OutOfMemory

RAW = "data/raw"
CODE = ("core", "problems", "pipeline")
Locks = dict[str, dict[str, Any]]  # stage name -> its entry of dvc.lock
log = logging.getLogger(__name__)


def push_files(remote: str, files: Iterable[Path]) -> list[dict[str, Any]]:
    """Put files into the remote; return {md5, size} of each. One that is there already is not sent again."""
    from dvc.fs import LocalFileSystem
    from dvc_data.hashfile.hash import file_md5

    local = LocalFileSystem()
    given = [(file_md5(str(path), local), path) for path in files]
    with _repo(remote) as repo:
        store = repo.cloud.get_remote_odb(hash_name="md5")
        new = {md5: str(path) for md5, path in given}
        for md5 in store.oids_exist(list(new)):
            new.pop(md5)
        store.add(list(new.values()), local, list(new), check_exists=False)
    return [{"md5": md5, "size": path.stat().st_size} for md5, path in given]


def fetch_files(remote: str, files: Mapping[str, str], folder: Path) -> None:
    """Bring files {relative path: md5} from the remote into a folder."""
    with _repo(remote) as repo:
        store = repo.cloud.get_remote_odb(hash_name="md5")
        for parent in {(folder / path).parent for path in files}:
            parent.mkdir(parents=True, exist_ok=True)
        targets = [str(folder / path) for path in files]
        store.fs.get([store.oid_to_path(md5) for md5 in files.values()], targets)


def push_folder_listing(remote: str, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Make a DVC folder out of files {relative path: {md5, size}} that the remote holds; return its lock entry.

    The same files give the same md5, whatever the order in which they came: it is the data version.
    """
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta
    from dvc_data.hashfile.tree import Tree

    tree = Tree()  # type: ignore[no-untyped-call]
    for path, file in files.items():
        tree.add(tuple(path.split("/")), Meta(size=file["size"]), HashInfo("md5", file["md5"]))
    tree.digest()
    with _repo(remote) as repo:
        repo.cloud.get_remote_odb(hash_name="md5").add(tree.path, tree.fs, tree.oid)
    total = sum(file["size"] for file in files.values())
    return {"path": RAW, "hash": "md5", "md5": tree.oid, "size": total, "nfiles": len(files)}


def run_stage(stage: str, params: Params, raw: Mapping[str, Any], before: Locks, remote: str) -> dict[str, Any]:
    """Run one stage of dvc.yaml in a workspace of its own; return its lock entry.

    A stage whose inputs are those of any earlier run is restored, not run again: that makes a retry safe.
    """
    from dvc.dependency import ParamsDependency

    with _repo(remote) as repo:
        _lay_out(Path.cwd(), params, raw, before)
        (found,) = repo.stage.collect(stage)
        inputs = [d.def_path for d in found.deps if not isinstance(d, ParamsDependency)]
        repo.pull(_tracked(inputs, before))
        _recall(repo, found)
        _reproduce(repo, stage)
        repo.push([stage], run_cache=True)
        log.info("stage %s: its outputs are in the remote", stage)
        return dict(yaml.safe_load(Path("dvc.lock").read_text())["stages"][stage])


def pull(folder: Path, entries: Sequence[Mapping[str, Any]], remote: str) -> None:
    """Bring files back by hash. An entry is an output (or dependency) of a lock: {path, md5, ...}."""
    with _repo(remote) as repo:
        for entry in entries:
            pointer = {**entry, "path": Path(entry["path"]).name}
            target = Path(entry["path"])
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(f"{target}.dvc").write_text(yaml.safe_dump({"outs": [pointer]}))
        repo.pull()
        folder.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            _move(Path(entry["path"]), folder / entry["path"])


def outputs(locks: Locks, *paths: str) -> list[dict[str, Any]]:
    """The lock entries of these output paths, whichever stage made them."""
    known = {out["path"]: out for entry in locks.values() for out in entry.get("outs", [])}
    missing = [path for path in paths if path not in known]
    if missing:
        raise DataError(f"the lock holds no {', '.join(missing)}; it has {', '.join(sorted(known))}")
    return [known[path] for path in paths]


def raw_entry(locks: Locks) -> dict[str, Any]:
    """The lock entry of the raw partitions that these stages read."""
    for entry in locks.values():
        for dep in entry.get("deps", []):
            if dep["path"] == RAW:
                return dict(dep)
    raise DataError("the lock names no raw data; was it written by this pipeline?")


def as_lock_file(locks: Locks) -> str:
    """The text of the merged dvc.lock: the lineage of a model."""
    return yaml.safe_dump({"schema": "2.0", "stages": dict(sorted(locks.items()))}, sort_keys=False)


def from_lock_file(text: str) -> Locks:
    return dict(yaml.safe_load(text)["stages"])


def stage_names(folder: Path = ROOT) -> list[str]:
    """Stages of dvc.yaml in their order, a matrix once."""
    return list(yaml.safe_load((folder / "dvc.yaml").read_text())["stages"])


@contextlib.contextmanager
def _repo(remote: str) -> Iterator[Any]:
    """An empty DVC repository in a folder that is deleted afterwards, as the working directory (DVC needs that)."""
    from dvc.repo import Repo

    from core.remote import JOBS, dvc_url

    with tempfile.TemporaryDirectory(prefix="loop-", ignore_cleanup_errors=True) as folder:
        config = Path(folder, ".dvc", "config")
        config.parent.mkdir()
        config.write_text(
            "[core]\n  no_scm = true\n  remote = store\n  analytics = false\n  check_update = false\n"
            f"  site_cache_dir = {folder}/.dvc/site\n[cache]\n  type = hardlink,copy\n"
            f"['remote \"store\"']\n  url = {dvc_url(remote)}\n  jobs = {JOBS}\n"
        )
        with contextlib.chdir(folder), Repo(folder) as repo:
            yield repo


def _reproduce(repo: Any, stage: str) -> None:
    from dvc.exceptions import ReproductionError

    before = memory.kills()
    try:
        repo.reproduce(stage, single_item=True, pull=True)
    except ReproductionError as error:
        if memory.KILLED.search(str(error.__cause__)):
            reason = memory.words(f"stage {stage}", memory.kills() - before, memory.limit())
            raise OutOfMemory(reason) from error
        raise


def _recall(repo: Any, stage: Any) -> None:
    """Bring what the remote's run cache knows of this stage on these inputs.

    DVC would bring all that it knows of every stage, which is more by a few files each night.
    """
    from dvc.stage.cache import _get_stage_hash

    stage.save_deps()
    key = _get_stage_hash(stage)
    store, cache = repo.cloud.get_remote_odb(hash_name="md5-dos2unix"), repo.stage_cache
    for path in store.fs.find(store.fs.join(store.path, "runs", key[:2], key)):
        target = Path(cache.cache_dir, key[:2], key, store.fs.name(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fs.get_file(path, str(target))
    cache.pull = lambda *_, **__: []


def _lay_out(workspace: Path, params: Params, raw: Mapping[str, Any], before: Locks) -> None:
    for name in CODE:
        shutil.copytree(ROOT / name, workspace / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, workspace / name)
    (workspace / "params.yaml").write_text(yaml.safe_dump(params.model_dump(mode="json")))
    (workspace / "data").mkdir()
    (workspace / f"{RAW}.dvc").write_text(yaml.safe_dump({"outs": [{**raw, "path": Path(RAW).name}]}))
    if before:
        outs_only = {name: {"cmd": entry["cmd"], "outs": entry["outs"]} for name, entry in before.items()}
        (workspace / "dvc.lock").write_text(as_lock_file(outs_only))  # all that is needed; DVC reads it a dozen times
    ours = str(Path(sys.executable).parent)
    if os.environ["PATH"].partition(os.pathsep)[0] != ours:
        os.environ["PATH"] = f"{ours}{os.pathsep}{os.environ['PATH']}"  # stages say `python`


def _tracked(inputs: list[str], before: Locks) -> list[str]:
    """Of a stage's inputs, those that DVC holds: the raw data and outputs of earlier stages, also below a folder."""
    made = [out["path"] for entry in before.values() for out in entry.get("outs", [])]
    below = [path for path in made if any(path == given or path.startswith(f"{given}/") for given in inputs)]
    return [*below, *([RAW] if RAW in inputs else [])]


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)
