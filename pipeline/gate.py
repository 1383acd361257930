"""The release gate: challenger against champion on rows that neither was trained on. Pure: evidence in, verdict out.

Promote unless a safety rule fails (block) or the challenger is credibly worse, or the same model (keep). Requiring
"significantly better" would throw away a quarter of what retraining gains (docs/adr/0005).
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from core.schema import ProblemSpec
from core.task import of
from pipeline.metrics import calibration, difference, measures

Outcome = Literal["promote", "keep", "block"]


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at. Arrays are one value per held-out row, shape (n,); predictions as core.task has them."""

    y: np.ndarray
    days: np.ndarray
    clusters: np.ndarray  # rows that belong together; most often the days
    hashes: np.ndarray  # row hashes of the holdout
    challenger: np.ndarray  # predictions of the model that was not trained on the holdout
    baseline: np.ndarray
    scale: float  # unit of residuals and of shifts: core.scored.Trivial of the challenger's training rows
    trained_on: np.ndarray  # row hashes of the challenger's training rows
    parity: float | None  # of the model to be released, in that unit
    refused: str | None  # by the pipeline's own checks, in words
    p99_ms: float
    refit_mean: float  # mean score (core.task) of the model to be released, on the holdout
    slices: dict[str, dict[str, Any]]
    digest: str
    newest_day: str | None = None  # quarantined newest partition with its reasons, in words
    champion: np.ndarray | None = None
    champion_trained_on: np.ndarray = field(default_factory=lambda: np.array([], np.uint64))
    champion_digest: str | None = None


@dataclass(frozen=True)
class Rule:
    """One rule, what was measured, what was allowed, and whether it held."""

    name: str
    held: bool
    says: str


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    reason: str
    rules: list[Rule]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(spec: ProblemSpec, evidence: Evidence) -> Verdict:
    """Apply every rule, so that the verdict shows all that is wrong, and decide."""
    safety = safety_rules(spec, evidence)
    failed = [rule for rule in safety if not rule.held]
    if failed:
        return Verdict("block", "; ".join(rule.says for rule in failed), safety)
    if evidence.champion is None:
        return Verdict("promote", "no champion yet, and every rule held", safety)
    comparison = against_champion(spec, evidence)
    outcome: Outcome = "promote" if comparison.held else "keep"
    return Verdict(outcome, comparison.says, [*safety, comparison])


def safety_rules(spec: ProblemSpec, e: Evidence) -> list[Rule]:
    gate = spec.gate
    if bad := _not_finite(e.challenger):
        return [Rule("finite", False, f"{bad} predictions are NaN or infinite")]
    days = len(np.unique(e.days))
    limit = gate.parity_max
    return [
        Rule("checks", e.refused is None, e.refused or "it passed the pipeline's own checks"),
        Rule("parity", e.parity is not None and e.parity <= limit, f"ONNX parity {_number(e.parity)} of {limit:g}"),
        _blind(e),
        Rule("days", days >= gate.min_days, f"{days} holdout days, {gate.min_days} needed"),
        Rule("fresh", e.newest_day is None, e.newest_day or "the newest partition is good"),
        _calibration(spec, e),
        _beats_baseline(spec, e),
        _slice_floor(spec, e),
        Rule("latency", e.p99_ms <= gate.latency_p99_ms, f"p99 {e.p99_ms:.3f} ms of {gate.latency_p99_ms:g} ms a row"),
        _refit(spec, e),
    ]


def against_champion(spec: ProblemSpec, e: Evidence) -> Rule:
    """Paired by cluster, on the days of which the champion has seen no row either."""
    assert e.champion is not None
    name, gate = "champion", spec.gate
    if bad := _not_finite(e.champion):
        return Rule(name, True, f"{bad} predictions of the champion are NaN or infinite")
    if e.digest == e.champion_digest or np.array_equal(e.challenger, e.champion):
        return Rule(name, False, "a tie: it is the champion's own model")
    blind = blind_days(e)
    days = len(np.unique(e.days[blind]))
    if days < gate.min_days:
        return Rule(name, False, f"the champion is blind to {days} of the holdout days, {gate.min_days} needed")
    metric = measures(spec)[gate.metric]
    found = difference(metric, e.y[blind], e.challenger[blind], e.champion[blind], e.clusters[blind])
    if np.isnan(found.worse):
        return Rule(name, False, f"{metric.name} is not defined on the {days} days that the champion has not seen")
    change = -found.worse if metric.higher else found.worse
    over = f"{days} days" if spec.cluster is None else f"{found.clusters} values of {spec.cluster}"
    says = f"{metric.name} {change:+.4g} against the champion over {over} (t = {found.t:+.2f}, worse from"
    return Rule(name, found.t < gate.worse_t, f"{says} {gate.worse_t:g})")


def blind_days(e: Evidence) -> np.ndarray:
    """Mask of rows, shape (n,): those of days on which the champion was trained on no row."""
    seen = np.unique(e.days[np.isin(e.hashes, e.champion_trained_on)])
    return ~np.isin(e.days, seen)


def _blind(e: Evidence) -> Rule:
    leaked = int(np.isin(e.hashes, e.trained_on).sum())
    return Rule("blind", leaked == 0, f"it was trained on {leaked} of {len(e.hashes)} holdout rows")


def _calibration(spec: ProblemSpec, e: Evidence) -> Rule:
    """|O-E| is acceptable below the limit, or when the incumbent was hardly better on the same days."""
    residual = calibration(spec, e.scale)
    off = abs(residual.value(e.y, e.challenger) or 0.0)
    incumbent = abs(residual.value(e.y, e.baseline if e.champion is None else e.champion) or 0.0)
    allowed = max(spec.gate.calibration_max, incumbent + spec.gate.calibration_slack)
    unit = _unit(spec) if spec.gate.quantile is None else ""
    return Rule("calibration", off <= allowed, f"calibration |O-E| {off:.3f}{unit}, allowed {allowed:.3f}")


def _beats_baseline(spec: ProblemSpec, e: Evidence) -> Rule:
    """A first champion must beat it credibly: monotone constraints alone bring shuffled labels a little below it.

    Later ones are compared with the champion, and a stormy week, when all are uncertain, must not stop them.
    """
    metric = measures(spec)[spec.gate.metric]
    mine, trivial = metric.value(e.y, e.challenger), metric.value(e.y, e.baseline)
    if mine is None or trivial is None:
        return Rule("baseline", False, f"{metric.name} is not defined on the holdout")
    says = f"{metric.name} {mine:.4g}, trivial baseline {trivial:.4g}"
    if e.champion is not None:
        return Rule("baseline", mine > trivial if metric.higher else mine < trivial, says)
    t, needed = difference(metric, e.y, e.baseline, e.challenger, e.clusters).t, spec.gate.better_t
    over = "days" if spec.cluster is None else f"values of {spec.cluster}"
    return Rule("baseline", t >= needed, f"{says} (t = {t:.2f} over {over}, {needed:g} needed)")


def _slice_floor(spec: ProblemSpec, e: Evidence) -> Rule:
    floor = spec.gate.slice_floor
    if floor is None:
        return Rule("slices", True, "no floor is declared")
    judged = {n: v for n, v in e.slices.items() if v["rows"] >= floor.min_rows and floor.metric in v}
    low = {name: values[floor.metric] for name, values in judged.items() if values[floor.metric] < floor.floor}
    fallen = ", ".join(f"{name} {value:.3f}" for name, value in low.items())
    good = f"{floor.metric} of {len(judged)} slices is at least {floor.floor:g}"
    return Rule("slices", not low, f"{floor.metric} below {floor.floor:g}: {fallen}" if low else good)


def _refit(spec: ProblemSpec, e: Evidence) -> Rule:
    limit, before = spec.gate.refit_shift_max, float(of(spec).score(e.challenger).mean())
    moved = abs(e.refit_mean - before) / e.scale
    says = f"the refit moved the mean prediction by {moved:.3f}{_unit(spec)} of {limit:g}"
    return Rule("refit", bool(np.isfinite(moved)) and moved <= limit, says)


def _not_finite(predictions: np.ndarray) -> int:
    """Rows with a NaN or an infinity."""
    return int((~np.isfinite(predictions.reshape(len(predictions), -1)).all(axis=1)).sum())


def _unit(spec: ProblemSpec) -> str:
    """Of shifts of the mean prediction. Shares of one need no word."""
    return " standard deviations" if spec.task == "regression" else ""


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g}"
