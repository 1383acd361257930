"""Register the winner of a life cycle and put it through the gate. Every step may be repeated.

What is then released, and how, is pipeline.release's.
"""

import logging
import shutil
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from core import lineage
from core.config import ROOT, settings
from core.errors import ModelRefused
from core.lineage import Locks
from core.registry import Registry
from pipeline import gate
from pipeline.results import Results, evidence
from pipeline.stages import Job
from problems import load

log = logging.getLogger(__name__)


def register(job: Job, locks: Locks) -> str:
    """Record the candidates' runs, register the refitted winner with its lineage, and name it the challenger."""
    given, spec = settings(), load().spec
    registry = Registry(given.mlflow_url, spec.name)
    with tempfile.TemporaryDirectory() as folder:
        found = Results(Path(folder), locks, given.remote_url)
        parent = registry.lifecycle_run(job["lifecycle"], {"as_of": job["as_of"], "reason": job["reason"]})
        for name in found.candidates:
            run = registry.candidate_run(job["lifecycle"], parent, name)
            registry.record(run, spec.candidates[name], found.metrics(name), found.tags(name))
        _record_parent(registry, parent, job, found, locks)
        if refused := found.facts(found.refit)["refused"]:
            raise ModelRefused(f"the refit of {found.winner} is refused: {refused}")
        (found.refit / "dvc.lock").write_text(lineage.as_lock_file(locks))
        tags = {"candidate": found.winner, "as_of": job["as_of"], "data_version": job["raw"]["md5"]}
        version = registry.register(
            parent, found.refit, {**tags, "revision": revision(), "lifecycle": job["lifecycle"]}
        )
    registry.challenge(version)
    return version


def judge(job: Job, locks: Locks, version: str) -> dict[str, Any]:
    """Put the challenger through the gate. Returns the verdict, which is kept with the run and the version too."""
    given, spec = settings(), load().spec
    registry = Registry(given.mlflow_url, spec.name)
    with tempfile.TemporaryDirectory() as folder:
        found = Results(Path(folder), locks, given.remote_url)
        verdict = gate.judge(spec, evidence(spec, registry, found, date.fromisoformat(job["as_of"]), Path(folder)))
    kept = {"version": version, **verdict.as_dict()}
    run = registry.lifecycle_run(job["lifecycle"], {})
    registry.attach(run, "verdict.json", kept)
    registry.record(run, {}, {}, {"gate": verdict.outcome, "gate_reason": verdict.reason[:4000]})
    if registry.release().champion != version:
        registry.tag(version, {"gate": verdict.outcome})
    log.info("gate: %s, %s", verdict.outcome, verdict.reason)
    return kept


def revision() -> str:
    """The code revision: as set, or git's, marked when the checkout has uncommitted changes; "unknown" without git."""
    given = settings().revision
    if given or shutil.which("git") is None:
        return given or "unknown"
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _record_parent(registry: Registry, run: str, job: Job, found: Results, locks: Locks) -> None:
    tags = {"data_version": job["raw"]["md5"], "revision": revision(), "winner": found.winner}
    registry.record(run, {"as_of": job["as_of"]}, found.metrics(found.winner), tags)
    registry.attach(run, "dvc.lock", lineage.as_lock_file(locks))
    costs = {name: found.cost(name) for name in found.candidates}
    registry.attach(run, "comparison.json", {**found.comparison, "cost": costs})
