"""Judge a challenger on the traffic that reached it, in shadow or as canary: errors, latency, shift of the predictions,
loss on the labels that have matured since it began. It changes nothing; pipeline.compare has the statistics.

Routing is sticky by entity and random across entities, so canary and champion answer comparable traffic; in shadow
both score the same.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sqlalchemy import Engine

from core import predictions
from core.errors import RegistryError
from core.predictions import CANARY, CHAMPION, SHADOW
from core.registry import Event, Registry
from core.schema import ProblemSpec
from core.task import primary_loss
from pipeline.compare import Row, Sides, label_shift, late, latencies, scores, shift, worse

EARLY_ERRORS = 5  # so many failures are enough to abort before the challenger has its full number of requests


@dataclass(frozen=True)
class Judgement:
    state: Literal["wait", "promote", "abort"]
    reason: str
    evidence: dict[str, Any]


def watch(registry: Registry, engine: Engine, spec: ProblemSpec, version: str) -> Judgement:
    """Judge the version on the traffic since its shadow or canary began. What was ended by hand stays as it was ended.

    Raises RegistryError when it was never released.
    """
    events = registry.history_of(version)
    if not events:
        raise RegistryError(f"version {version} was never in shadow, canary or champion; see `loop release history`")
    champion = registry.release().champion
    if champion == version:
        return Judgement("promote", "it is the champion", {})
    if events[-1].action not in (SHADOW, CANARY):
        return Judgement("abort", f"its trial has ended already ({events[-1].action}: {events[-1].reason})", {})
    versions = [version, *([champion] if champion else [])]
    rows = predictions.by_version(engine, spec.name, versions, events[-1].at)
    return judge(spec, rows, version, events[-1].action, (time.time() - _began(events)) / 60)


def judge(spec: ProblemSpec, rows: Sequence[Row], version: str, role: str, waited_min: float) -> Judgement:
    """`rows` as from core.predictions.by_version, since the version has this role: shadow or canary."""
    mine = [row for row in rows if row["role"] == role and row["model_version"] == version]
    others = [row for row in rows if row["role"] == CHAMPION]
    limits, challenger, champion = spec.canary, _summary(mine), _summary(others)
    seen = {role: challenger, CHAMPION: champion, "waited_min": round(waited_min, 1)}
    sides = Sides.answered(mine, others, paired=role == SHADOW)
    n, failed, is_late = len(mine), len(mine) - len(scores(mine)), waited_min >= limits.wait_min
    enough = n >= limits.min_requests and (role == CANARY or len(others) >= limits.min_requests)
    if failed / max(n, 1) > limits.max_error_rate and (enough or is_late or failed >= EARLY_ERRORS):
        return Judgement("abort", f"{failed} of {n} {role} requests failed", seen)
    if not (enough or is_late):
        return Judgement("wait", f"{n} of {limits.min_requests} {role} requests so far", seen)
    if not n:
        return Judgement("promote", f"no traffic in {waited_min:.0f} min: promoted on the gate's evidence alone", seen)
    labelled = sides.labelled()
    if n_labels := len(labelled.mine):
        seen["labels"] = n_labels
    found = _slow(spec, mine, champion["p99_ms"]) or _moved(spec, sides) or _worse(spec, labelled)
    if found:
        return Judgement("abort", found, seen)
    if n_labels < limits.min_labels and not is_late:
        return Judgement("wait", f"{n_labels} of {limits.min_labels} labels so far", seen)
    return Judgement("promote", f"{n} requests, {failed} errors, {_said(spec, shift(spec, sides)[0])}", seen)


def _began(events: Sequence[Event]) -> float:
    """When traffic first reached it: the canary that follows a shadow has waited as long as both."""
    trial = itertools.takewhile(lambda event: event.action in (SHADOW, CANARY), reversed(events))
    return min(event.at for event in trial)


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    found, times = scores(rows), latencies(rows)
    return {
        "requests": len(rows),
        "errors": len(rows) - len(found),
        "mean": float(np.mean(found)) if len(found) else 0.0,
        "p99_ms": float(np.percentile(times, 99)) if len(times) else 0.0,
    }


def _slow(spec: ProblemSpec, mine: Sequence[Row], champion_p99_ms: float) -> str:
    limit = max(spec.gate.latency_p99_ms, spec.canary.max_latency_ratio * champion_p99_ms)
    slow, requests, credible = late(mine, limit)
    return f"{slow} of {requests} requests took more than {limit:.1f} ms a row" if credible else ""


def _moved(spec: ProblemSpec, sides: Sides) -> str:
    limit = spec.canary.max_shift
    moved, chance = shift(spec, sides)
    if moved - chance > limit:
        return f"{_said(spec, moved)}, allowed {limit:g}"
    share, chance = label_shift(sides)
    return f"{share:.0%} of the labels moved, {chance:.0%} of which may be chance" if share - chance > limit else ""


def _said(spec: ProblemSpec, moved: float) -> str:
    return f"mean prediction moved by {moved:.3f}{' standard deviations' * (spec.task == 'regression')}"


def _worse(spec: ProblemSpec, labelled: Sides) -> str:
    """Fewer labels than the requests that a verdict needs are no evidence."""
    n = min(len(labelled.mine), len(labelled.others))
    if n < max(2, spec.canary.min_requests):
        return ""
    found, limit = worse(spec, labelled)
    said = f"{primary_loss(spec)} is worse by {found.worse:.3f} on {len(labelled.mine)} matured labels"
    return f"{said}, t = {found.t:.1f}" if found.t >= limit else ""
