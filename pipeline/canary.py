"""Judge a running canary on what it answered: errors, latency, shift of the predictions. It changes nothing.

Shifts of the mean prediction are shares for classes. For numbers they are in standard deviations of the champion's own
answers in the same period, which needs nothing but what was answered; these vary less than the target does, so the
limit is a little stricter than the gate's. Of several classes the prediction is the confidence, and their shares among
the answers are compared too.

Routing is sticky by entity and random across entities, so canary and champion answer comparable traffic.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from core import database, predictions
from core.config import settings
from core.schema import ProblemSpec
from problems import load

Row = Mapping[str, Any]
EARLY_ERRORS = 5  # so many failures are enough to abort before the canary has its full number of requests
SLOW_SHARE = 0.01  # of the champion's requests are slower than its 99th percentile, by definition
CHANCE = 0.001  # a finding that chance alone would give as seldom as this is the canary's own


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


def judge(spec: ProblemSpec, rows: Sequence[Row], version: str, waited_min: float) -> Judgement:
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
    times = _latencies(mine)
    late_ones = int((times > slow).sum())
    if stats.binom.sf(late_ones - 1, len(times), SLOW_SHARE) < CHANCE:
        return Judgement("abort", f"{late_ones} of {len(times)} requests took more than {slow:.1f} ms a row", seen)
    shift, error = _shift(spec, mine, others)
    moved = f"mean prediction moved by {shift:.3f}{' standard deviations' * (spec.task == 'regression')}"
    if shift - float(stats.norm.isf(CHANCE / 2)) * error > limits.max_shift:
        return Judgement("abort", f"{moved}, allowed {limits.max_shift:g}", seen)
    share, chance = _label_shift(mine, others)
    if share - chance > limits.max_shift:
        return Judgement("abort", f"{share:.0%} of the labels moved, {chance:.0%} of which may be chance", seen)
    return Judgement("promote", f"{canary['requests']} requests, {canary['errors']} errors, {moved}", seen)


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    scores, times = _scores(rows), _latencies(rows)
    return {
        "requests": len(rows),
        "errors": len(rows) - len(scores),
        "mean": float(np.mean(scores)) if len(scores) else 0.0,
        "p99_ms": float(np.percentile(times, 99)) if len(times) else 0.0,
    }


def _scores(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row["score"] for row in rows if row["error"] is None], np.float64)


def _latencies(rows: Sequence[Row]) -> np.ndarray:
    """One value a request, in ms a row: the rows of a batch were timed together."""
    answered = {(row["model_version"], row["served_at"]): row["latency_ms"] for row in rows if row["error"] is None}
    return np.array(list(answered.values()), np.float64)


def _shift(spec: ProblemSpec, mine: Sequence[Row], others: Sequence[Row]) -> tuple[float, float]:
    """|mean prediction of the canary - of the champion| and its standard error; 0 without champion traffic."""
    a, b = _scores(mine), _scores(others)
    if not len(b):
        return 0.0, 0.0
    unit = (float(b.std()) or 1.0) if spec.task == "regression" else 1.0
    return abs(float(a.mean() - b.mean())) / unit, float(np.sqrt(a.var() / len(a) + b.var() / len(b))) / unit


def _label_shift(mine: Sequence[Row], others: Sequence[Row]) -> tuple[float, float]:
    """Share of the labels that would have to change for both to answer alike (total variation distance), and what
    chance alone exceeds as seldom as CHANCE says; 0 without labels on both sides.

    The distance of two samples of one distribution is nowhere near 0: its mean is bounded by the spread of each share,
    its excess over the mean by McDiarmid's inequality (1989).
    """
    a, b = _labels(mine), _labels(others)
    if not len(a) or not len(b):
        return 0.0, 0.0
    names = np.unique([*a, *b])
    of_a, of_b = ((found[:, None] == names).mean(axis=0) for found in (a, b))
    pooled = (len(a) * of_a + len(b) * of_b) / (len(a) + len(b))
    rows = 1 / len(a) + 1 / len(b)
    mean = float(np.sqrt(pooled * (1 - pooled) * rows).sum()) / 2
    return float(np.abs(of_a - of_b).sum()) / 2, mean + float(np.sqrt(np.log(1 / CHANCE) / 2 * rows))


def _labels(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row["label"] for row in rows if row["error"] is None and row["label"] is not None], str)
