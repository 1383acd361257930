"""The steps of a life cycle, one function an Airflow task. Small dicts in and out; every step may be repeated.

The data plane's steps are the stages of dvc.yaml, run by core.lineage. Order, schedule and retries are the DAG's.
"""

import json
import logging
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import database, lineage, predictions
from core.config import ROOT, Params, params, settings
from core.errors import LoopError
from core.lineage import Locks
from core.registry import Registry
from core.releases import BUNDLE, Release
from core.runtime import OnnxModel, digest
from core.schema import ProblemSpec
from pipeline import canary, daily, gate, raw
from pipeline.deploy.local import LocalTarget
from pipeline.evaluate import BASELINE
from pipeline.features import DAY, ID, holdout_rows
from pipeline.train import FACTS, ROWS, columns
from problems import load

Job = dict[str, Any]  # lifecycle, as_of, reason; from `ingest` on also raw
log = logging.getLogger(__name__)


def ingest(job: Job) -> Job:
    """Fetch the window's missing days, publish what the server looks up, and fix the data version of this life cycle."""
    given, problem = settings(), load()
    as_of = date.fromisoformat(job["as_of"])
    engine = database.connect(given.store_url)
    missing = raw.missing_days(engine, problem, *raw.window(problem.spec.split, as_of))
    raw.ingest(engine, problem, given.remote_url, missing)
    daily.ingest(as_of)
    version = raw.data_version(engine, problem, given.remote_url, as_of)
    log.info("%d new partitions, data version %s", len(missing), version["md5"])
    return {**job, "raw": version}


def run_stage(stage: str, job: Job, before: Iterable[Locks]) -> Locks:
    """Run one DVC stage on what the stages before it made."""
    locks = merge(before)
    given = Params(problem=load().spec.name, as_of=job["as_of"], candidates=params(ROOT).candidates)
    return {stage: lineage.run_stage(stage, given, job["raw"], locks, settings().remote_url)}


def merge(parts: Iterable[Locks]) -> Locks:
    return {name: entry for part in parts for name, entry in part.items()}


def register(job: Job, locks: Locks) -> str:
    """Record the candidates' runs, register the refitted winner with its lineage, and name it the challenger."""
    given, spec = settings(), load().spec
    registry = Registry(given.mlflow_url, spec.name)
    with tempfile.TemporaryDirectory() as folder:
        found = _Results(Path(folder), locks, given.remote_url)
        parent = registry.lifecycle_run(job["lifecycle"], {"as_of": job["as_of"], "reason": job["reason"]})
        for name in found.candidates:
            run = registry.candidate_run(job["lifecycle"], parent, name)
            registry.record(run, spec.candidates[name], found.metrics(name), found.tags(name))
        _record_parent(registry, parent, job, found, locks)
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
        found = _Results(Path(folder), locks, given.remote_url)
        verdict = gate.judge(spec, _evidence(spec, registry, found, date.fromisoformat(job["as_of"]), Path(folder)))
    kept = {"version": version, **verdict.as_dict()}
    run = registry.lifecycle_run(job["lifecycle"], {})
    registry.attach(run, "verdict.json", kept)
    registry.record(run, {}, {}, {"gate": verdict.outcome, "gate_reason": verdict.reason[:4000]})
    if registry.release().champion != version:
        registry.tag(version, {"gate": verdict.outcome})
    log.info("gate: %s, %s", verdict.outcome, verdict.reason)
    return kept


def release(job: Job, version: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Act on the verdict: the first champion at once, later ones through a canary, a refused one not at all.

    Returns {state: kept out, canary or champion; since: when, in seconds since 1970}.
    """
    given, spec = settings(), load().spec
    registry = Registry(given.mlflow_url, spec.name)
    actor = f"lifecycle {job['lifecycle']}"
    if verdict["outcome"] != "promote":
        registry.keep_out(version, actor, verdict["reason"], dict(verdict))
        return {"state": "kept out", "since": time.time()}
    if registry.release().champion in (None, version):
        registry.promote(version, actor, verdict["reason"], dict(verdict))
        return {"state": "champion", "since": time.time()}
    registry.start_canary(version, spec.canary.percent, actor, verdict["reason"], dict(verdict))
    LocalTarget(given.serving_url).apply(registry.release())
    return {"state": "canary", "since": registry.history()[-1].at}


def watch_canary(version: str, released: Mapping[str, Any]) -> dict[str, Any]:
    """Judge the canary on what it answered since it was released. A first champion needs no canary."""
    if released["state"] == "champion":
        return {"state": "promote", "reason": "it is the champion", "evidence": {}}
    given, spec = settings(), load().spec
    rows = predictions.by_version(database.connect(given.store_url), spec.name, released["since"])
    return asdict(canary.judge(spec, rows, version, (time.time() - released["since"]) / 60))


def finish(job: Job, version: str, judgement: Mapping[str, Any]) -> str | None:
    """End the canary: promote or abort, then see the server agree. Returns the champion."""
    given, spec = settings(), load().spec
    registry = Registry(given.mlflow_url, spec.name)
    act = registry.promote if judgement["state"] == "promote" else registry.keep_out
    act(version, f"lifecycle {job['lifecycle']}", judgement["reason"], dict(judgement["evidence"]))
    return registry.release().champion


def deploy() -> str | None:
    """See the target serve what the registry says, without a canary. Returns the champion."""
    given = settings()
    now = Registry(given.mlflow_url, load().spec.name).release()
    LocalTarget(given.serving_url).apply(Release(now.champion, now.canary, now.percent))
    return now.champion


def roll_back(reasons: Iterable[str]) -> str:
    """Make the champion before this one the champion again, on the monitor's decision. Returns its version."""
    given = settings()
    registry = Registry(given.mlflow_url, load().spec.name)
    version = registry.rollback("monitor", "; ".join(reasons), {})
    LocalTarget(given.serving_url).apply(registry.release())
    return version


def revision() -> str:
    """The code revision: as set, or git's, marked when the checkout has uncommitted changes."""
    given = settings().revision
    if given:
        return given
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


class _Results:
    """What the stages of one life cycle made, pulled into a folder."""

    def __init__(self, folder: Path, locks: Locks, remote: str) -> None:
        trained = [name.partition("@")[2] for name in locks if name.startswith("train@")]
        paths = ["data/features.parquet", "data/validation.json", "evaluation", "refit"]
        paths += [path for name in trained for path in (f"models/{name}", f"timings/{name}.json")]
        lineage.pull(folder, lineage.outputs(locks, *paths), remote)
        self.folder, self.refit, self.candidates = folder, folder / "refit", sorted(trained)
        self.comparison = json.loads((folder / "evaluation/metrics.json").read_text())
        self.winner: str = self.comparison["winner"]

    def cost(self, name: str) -> dict[str, float]:
        return dict(json.loads((self.folder / f"timings/{name}.json").read_text()))

    def facts(self, folder: Path) -> dict[str, Any]:
        return dict(json.loads((folder / FACTS).read_text()))

    def metrics(self, name: str) -> dict[str, float]:
        """Flat, as MLflow wants them: METRIC, METRIC_low, METRIC_high, and what the candidate cost."""
        described = self.comparison["metrics"].get(name, {})
        flat = {f"{m}_{end}".removesuffix("_value"): v for m, ends in described.items() for end, v in ends.items()}
        slices = self.comparison["slices"] if name == self.winner else {}
        for slice_name, values in slices.items():
            flat |= {f"slice/{slice_name.replace('=', '/')}/{m}": v for m, v in values.items()}
        return {m: v for m, v in (flat | self.cost(name)).items() if v is not None}

    def tags(self, name: str) -> dict[str, str]:
        return {"refused": self.comparison["refused"].get(name, ""), "winner": str(name == self.winner).lower()}


def _record_parent(registry: Registry, run: str, job: Job, found: _Results, locks: Locks) -> None:
    tags = {"data_version": job["raw"]["md5"], "revision": revision(), "winner": found.winner}
    registry.record(run, {"as_of": job["as_of"]}, found.metrics(found.winner), tags)
    registry.attach(run, "dvc.lock", lineage.as_lock_file(locks))
    costs = {name: found.cost(name) for name in found.candidates}
    registry.attach(run, "comparison.json", {**found.comparison, "cost": costs})


def _evidence(spec: ProblemSpec, registry: Registry, found: _Results, as_of: date, folder: Path) -> gate.Evidence:
    held_out = holdout_rows(spec, pd.read_parquet(found.folder / "data/features.parquet"), as_of)
    scored = pd.read_parquet(found.folder / "evaluation/predictions.parquet")
    facts = found.facts(found.refit)
    released = OnnxModel.load(found.refit) if facts["refused"] is None else None
    inputs = columns(spec, held_out)
    evidence: dict[str, Any] = {
        "y": scored[spec.target].to_numpy(),
        "days": scored[DAY].to_numpy(),
        "hashes": pd.util.hash_array(scored[ID].to_numpy(object), categorize=False),
        "challenger": scored[found.winner].to_numpy(),
        "baseline": scored[BASELINE].to_numpy(),
        "trained_on": np.load(found.folder / "models" / found.winner / ROWS),
        "parity": facts["parity"],
        "refused": facts["refused"],
        "p99_ms": found.cost(found.winner)["p99_ms"],
        "refit_mean": float(released.predict(inputs).mean()) if released else float("nan"),
        "slices": found.comparison["slices"],
        "digest": digest(found.refit) if released else "",
        "newest_day": _newest_quarantined(found, as_of),
    }
    return gate.Evidence(**evidence, **_champion(registry, inputs, folder))


def _champion(registry: Registry, inputs: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """The champion's predictions on the holdout and the rows it was trained on; nothing when there is none."""
    version = registry.release().champion
    if version is None:
        return {}
    bundle = registry.download(version, BUNDLE, folder)
    model = OnnxModel.load(bundle)
    unknown = [name for name in model.contract.features if name not in inputs]
    if unknown:
        raise LoopError(
            f"champion {version} needs features that are no longer made ({', '.join(unknown)}), so it cannot be "
            f"compared. Look at the challenger's metrics in MLflow and promote it by hand: loop promote VERSION"
        )
    return {
        "champion": model.predict(inputs),
        "champion_trained_on": np.load(bundle / ROWS),
        "champion_digest": digest(bundle),
    }


def _newest_quarantined(found: _Results, as_of: date) -> str | None:
    quarantined = json.loads((found.folder / "data/validation.json").read_text())["quarantined"]
    newest = str((pd.Timestamp(as_of) - pd.Timedelta(days=1)).date())
    if newest not in quarantined:
        return None
    return f"the newest partition, {newest}, is quarantined: {'; '.join(quarantined[newest])}"
