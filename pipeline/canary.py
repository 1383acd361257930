"""Judge a running canary on what it answered: errors, latency, shift of the prediction. It changes nothing.

Routing is sticky by entity and random across entities, so canary and champion answer comparable traffic.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from core import database, predictions
from core.config import settings
from core.schema import ProblemSpec
from problems import load

EARLY_ERRORS = 5  # so many failures are enough to abort before the canary has its full number of requests


@dataclass(frozen=True)
class Judgement:
    state: Literal["wait", "promote", "abort"]
    reason: str
    evidence: dict[str, Any]


def watch(version: str, released: Mapping[str, Any]) -> dict[str, Any]:
    """Judge the canary on what it answered since it was released. A first champion needs no canary."""
    if released["state"] == "champion":
        return {"state": "promote", "reason": "it is the champion", "evidence": {}}
    given, spec = settings(), load().spec
    rows = predictions.by_version(database.connect(given.store_url), spec.name, released["since"])
    return asdict(judge(spec, rows, version, (time.time() - released["since"]) / 60))


def judge(spec: ProblemSpec, rows: Sequence[Mapping[str, Any]], version: str, waited_min: float) -> Judgement:
    """`rows` as from core.predictions.by_version, since the canary began."""
    mine = [row for row in rows if row["model_version"] == version]
    others = [row for row in rows if row["model_version"] != version]
    limits, canary, champion = spec.canary, _summary(mine), _summary(others)
    seen = {"canary": canary, "champion": champion, "waited_min": round(waited_min, 1)}
    enough = canary["requests"] >= limits.min_requests
    late = waited_min >= limits.wait_min
    rate = canary["errors"] / max(canary["requests"], 1)
    if rate > limits.max_error_rate and (enough or late or canary["errors"] >= EARLY_ERRORS):
        return Judgement("abort", f"{canary['errors']} of {canary['requests']} canary requests failed", seen)
    if not (enough or late):
        return Judgement("wait", f"{canary['requests']} of {limits.min_requests} canary requests so far", seen)
    if not canary["requests"]:
        return Judgement("promote", f"no traffic in {waited_min:.0f} min: promoted on the gate's evidence alone", seen)
    slow = max(spec.gate.latency_p99_ms, limits.max_latency_ratio * (champion["p99_ms"] or 0))
    if canary["p99_ms"] > slow:
        return Judgement("abort", f"p99 {canary['p99_ms']:.1f} ms, allowed {slow:.1f} ms", seen)
    shift = abs(canary["mean"] - champion["mean"]) if champion["requests"] else 0.0
    if shift > limits.max_shift:
        return Judgement("abort", f"mean prediction moved by {shift:.3f}, allowed {limits.max_shift:g}", seen)
    good = f"{canary['requests']} requests, {canary['errors']} errors, mean prediction moved by {shift:.3f}"
    return Judgement("promote", good, seen)


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    scores = [row["score"] for row in rows if row["error"] is None]
    times = [row["latency_ms"] for row in rows if row["error"] is None]
    return {
        "requests": len(rows),
        "errors": len(rows) - len(scores),
        "mean": float(np.mean(scores)) if scores else 0.0,
        "p99_ms": float(np.percentile(times, 99)) if times else 0.0,
    }
