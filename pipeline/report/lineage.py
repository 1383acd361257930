"""Where a version comes from, read back from what was registered with it: facts of the training and its dvc.lock."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import lineage
from core.releases import BUNDLE
from pipeline.report.words import long_day, size

if TYPE_CHECKING:
    from core.registry import Registry


@dataclass(frozen=True)
class Output:
    path: str
    md5: str
    size: str


@dataclass(frozen=True)
class Stage:
    name: str
    command: str
    outputs: list[Output]


@dataclass(frozen=True)
class Lineage:
    version: str
    candidate: str
    digest: str
    run: str
    lifecycle: str
    data_version: str
    data_size: str
    revision: str
    window: str
    rows: int
    options: str
    device: str
    stages: list[Stage]


def trace(registry: "Registry", version: str) -> Lineage:
    tags = registry.tags(version)
    with tempfile.TemporaryDirectory() as folder:
        facts = json.loads(registry.download(version, f"{BUNDLE}/training.json", Path(folder)).read_text())
        locks = lineage.from_lock_file(registry.download(version, f"{BUNDLE}/dvc.lock", Path(folder)).read_text())
    raw = lineage.raw_entry(locks)
    return Lineage(
        version=version,
        candidate=facts["candidate"],
        digest=tags.get("digest", ""),
        run=registry.run_of(version),
        lifecycle=tags.get("lifecycle", ""),
        data_version=raw["md5"],
        data_size=f"{raw.get('nfiles', 1):,} files, {size(raw.get('size'))}",
        revision=tags.get("revision", ""),
        window=f"{long_day(facts['first_day'])} to {long_day(facts['last_day'])}",
        rows=facts["rows"],
        options=", ".join(f"{name} {value}" for name, value in facts.get("options", {}).items()),
        device=facts.get("device") or "",
        stages=[_stage(name, locks[name]) for name in _in_order(locks)],
    )


def _stage(name: str, entry: dict[str, object]) -> Stage:
    outs = entry.get("outs") or []
    assert isinstance(outs, list)
    return Stage(name, str(entry["cmd"]), [Output(out["path"], out["md5"], size(out.get("size"))) for out in outs])


def _in_order(locks: lineage.Locks) -> list[str]:
    """Stages such that each comes after those whose outputs it reads; by name where that leaves a choice."""
    maker = {out["path"]: name for name, entry in locks.items() for out in entry.get("outs", [])}
    waits = {
        name: {
            stage
            for dep in entry.get("deps", [])
            for path, stage in maker.items()
            if path == dep["path"] or path.startswith(f"{dep['path']}/") or dep["path"].startswith(f"{path}/")
        }
        for name, entry in locks.items()
    }
    done: list[str] = []
    while len(done) < len(locks):
        ready = sorted(name for name in locks if name not in done and waits[name] <= {*done, name})
        done += ready or sorted(set(locks) - set(done))
    return done
