"""Act on verdicts: shadow, canary, promotion, roll-back; each through the registry, each seen served by the target."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from core import database
from core.config import settings
from core.registry import Registry
from pipeline import canary
from pipeline.canary import Judgement
from pipeline.deploy import deploy
from pipeline.stages import Job
from problems import load

log = logging.getLogger(__name__)
POKE_S = 5.0


def release(job: Job, version: str, verdict: Mapping[str, Any]) -> str:
    """Act on the gate's verdict: the first champion at once, later ones on trial, a refused one not at all.

    Returns kept out, champion, shadow or canary.
    """
    spec, registry, actor = load().spec, _registry(), _actor(job)
    why = (actor, verdict["reason"], dict(verdict))
    if verdict["outcome"] != "promote":
        registry.keep_out(version, *why)
        return "kept out"
    if registry.release().champion in (None, version):
        registry.promote(version, *why)
        return "champion"
    if spec.canary.shadow:
        registry.start_shadow(version, *why)
    else:
        registry.start_canary(version, spec.canary.percent, *why)
    deploy()
    return "shadow" if spec.canary.shadow else "canary"


def judged(version: str) -> dict[str, Any]:
    """The judgement on the traffic that reached the version so far."""
    return asdict(_judge(version))


def advance(version: str, actor: str) -> Judgement:
    """Judge a version once, and act when the judgement is made: a shadow that holds becomes the canary, a canary that
    holds the champion; what does not hold is kept out."""
    judgement, registry = _judge(version), _registry()
    why = (actor, judgement.reason, judgement.evidence)
    if judgement.state == "abort":
        registry.keep_out(version, *why)
    elif judgement.state == "promote" and registry.release().in_shadow == version:
        registry.start_canary(version, load().spec.canary.percent, *why)
    elif judgement.state == "promote":
        _promote(registry, version, *why)
    if judgement.state != "wait":
        deploy()
    return judgement


def leave_shadow(job: Job, version: str) -> dict[str, Any]:
    """Advance a version that is in shadow. What is not in shadow passes. Returns a judgement."""
    if _registry().release().in_shadow == version:
        return asdict(advance(version, _actor(job)))
    return asdict(Judgement("promote", "it is not in shadow", {}))


def finish(job: Job, version: str, judgement: Mapping[str, Any]) -> str | None:
    """End the canary: promote or abort. Returns the champion; seeing it served is the next step (deploy)."""
    registry = _registry()
    act = _promote if judgement["state"] == "promote" else Registry.keep_out
    act(registry, version, _actor(job), judgement["reason"], dict(judgement["evidence"]))
    return registry.release().champion


def follow(actor: str, say: Callable[[str], None]) -> Judgement | None:
    """Advance whatever is on trial until it is champion or kept out. None: nothing is on trial."""
    judgement, said = None, ""
    while (version := _registry().release().tried) is not None:
        judgement = advance(version, actor)
        if judgement.reason != said:
            say(f"version {version}: {judgement.state}, {judgement.reason}")
        said = judgement.reason
        if judgement.state == "wait":
            time.sleep(POKE_S)
    return judgement


def roll_back(bad: str, reasons: Iterable[str]) -> str:
    """Make the champion before `bad` the champion again, on the monitor's decision. Returns its version."""
    version = _registry().rollback("monitor", "; ".join(reasons), {}, bad)
    deploy()
    return version


def _judge(version: str) -> Judgement:
    engine = database.connect(settings().store_url)
    try:
        return canary.watch(_registry(), engine, load().spec, version)
    finally:
        engine.dispose()


def _promote(registry: Registry, version: str, actor: str, reason: str, evidence: dict[str, Any]) -> None:
    """Unless it was kept out meanwhile: somebody's abort is not undone."""
    last = registry.history_of(version)[-1]
    if last.action == "keep out":
        log.warning("version %s is not promoted: %s kept it out", version, last.actor)
        return
    registry.promote(version, actor, reason, evidence)


def _registry() -> Registry:
    return Registry(settings().mlflow_url, load().spec.name)


def _actor(job: Job) -> str:
    return f"lifecycle {job['lifecycle']}"
