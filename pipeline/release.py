"""Act on verdicts: canary, promotion, roll-back; each through the registry, each seen served by the target."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from core.config import settings
from core.registry import Registry
from pipeline.deploy.local import LocalTarget
from pipeline.stages import Job
from problems import load


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


def finish(job: Job, version: str, judgement: Mapping[str, Any]) -> str | None:
    """End the canary: promote or abort. Returns the champion; seeing it served is the next step (deploy)."""
    given, spec = settings(), load().spec
    registry = Registry(given.mlflow_url, spec.name)
    act = registry.promote if judgement["state"] == "promote" else registry.keep_out
    act(version, f"lifecycle {job['lifecycle']}", judgement["reason"], dict(judgement["evidence"]))
    return registry.release().champion


def roll_back(bad: str, reasons: Iterable[str]) -> str:
    """Make the champion before `bad` the champion again, on the monitor's decision. Returns its version."""
    given = settings()
    registry = Registry(given.mlflow_url, load().spec.name)
    version = registry.rollback("monitor", "; ".join(reasons), {}, bad)
    LocalTarget(given.serving_url).apply(registry.release())
    return version
