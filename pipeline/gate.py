"""The release gate: challenger against champion on rows that neither was trained on. Pure: evidence in, verdict out.

Promote unless a safety rule fails (block) or the challenger is credibly worse, or the same model (keep). Requiring
"significantly better" would throw away a quarter of what retraining gains (docs/adr/0005).
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from core.schema import Gate, ProblemSpec
from pipeline.metrics import LOSSES, daily_difference, observed_minus_expected

Outcome = Literal["promote", "keep", "block"]


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at. Arrays are one value per held-out row, shape (n,)."""

    y: np.ndarray
    days: np.ndarray
    hashes: np.ndarray  # row hashes of the holdout
    challenger: np.ndarray  # predictions of the model that was not trained on the holdout
    baseline: np.ndarray
    trained_on: np.ndarray  # row hashes of the challenger's training rows
    parity: float | None  # of the model to be released
    refused: str | None  # by the pipeline's own checks, in words
    p99_ms: float
    refit_mean: float  # mean prediction of the model to be released, on the holdout
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
    comparison = against_champion(spec.gate, evidence)
    outcome: Outcome = "promote" if comparison.held else "keep"
    return Verdict(outcome, comparison.says, [*safety, comparison])


def safety_rules(spec: ProblemSpec, e: Evidence) -> list[Rule]:
    gate = spec.gate
    if not np.isfinite(e.challenger).all():
        return [Rule("finite", False, f"{int((~np.isfinite(e.challenger)).sum())} predictions are NaN or infinite")]
    days = len(np.unique(e.days))
    limit = gate.parity_max
    return [
        Rule("checks", e.refused is None, e.refused or "it passed the pipeline's own checks"),
        Rule("parity", e.parity is not None and e.parity <= limit, f"ONNX parity {_number(e.parity)} of {limit:g}"),
        _blind(e),
        Rule("days", days >= gate.min_days, f"{days} holdout days, {gate.min_days} needed"),
        Rule("fresh", e.newest_day is None, e.newest_day or "the newest partition is good"),
        _calibration(gate, e),
        _beats_baseline(gate, e),
        _slice_floor(gate, e),
        Rule("latency", e.p99_ms <= gate.latency_p99_ms, f"p99 {e.p99_ms:.3f} ms of {gate.latency_p99_ms:g} ms a row"),
        _refit(gate, e),
    ]


def against_champion(gate: Gate, e: Evidence) -> Rule:
    """Paired by day, on the days of which the champion has seen no row either."""
    assert e.champion is not None
    name = "champion"
    if bad := int((~np.isfinite(e.champion)).sum()):
        return Rule(name, True, f"{bad} predictions of the champion are NaN or infinite")
    if e.digest == e.champion_digest or np.array_equal(e.challenger, e.champion):
        return Rule(name, False, "a tie: it is the champion's own model")
    blind = blind_days(e)
    days = len(np.unique(e.days[blind]))
    if days < gate.min_days:
        return Rule(name, False, f"the champion is blind to {days} of the holdout days, {gate.min_days} needed")
    loss = LOSSES[gate.metric]
    worse, error, _ = daily_difference(
        loss(e.y[blind], e.challenger[blind]), loss(e.y[blind], e.champion[blind]), e.days[blind]
    )
    t = _t(worse, error)
    verdict = (
        f"{gate.metric} {worse:+.4f} against the champion over {days} days (t = {t:+.2f}, worse from {gate.worse_t:g})"
    )
    return Rule(name, t < gate.worse_t, verdict)


def blind_days(e: Evidence) -> np.ndarray:
    """Mask of rows, shape (n,): those of days on which the champion was trained on no row."""
    seen = np.unique(e.days[np.isin(e.hashes, e.champion_trained_on)])
    return ~np.isin(e.days, seen)


def _blind(e: Evidence) -> Rule:
    leaked = int(np.isin(e.hashes, e.trained_on).sum())
    return Rule("blind", leaked == 0, f"it was trained on {leaked} of {len(e.hashes)} holdout rows")


def _calibration(gate: Gate, e: Evidence) -> Rule:
    """|O-E| is acceptable below the limit, or when the incumbent was hardly better on the same days."""
    off = abs(observed_minus_expected(e.y, e.challenger))
    incumbent = abs(observed_minus_expected(e.y, e.baseline if e.champion is None else e.champion))
    allowed = max(gate.calibration_max, incumbent + gate.calibration_slack)
    return Rule("calibration", off <= allowed, f"calibration |O-E| {off:.3f}, allowed {allowed:.3f}")


def _beats_baseline(gate: Gate, e: Evidence) -> Rule:
    """A first champion must beat it credibly: monotone constraints alone bring shuffled labels a little below it.

    Later ones are compared with the champion, and a stormy week, when all are uncertain, must not stop them.
    """
    loss = LOSSES[gate.metric]
    mine, trivial = loss(e.y, e.challenger), loss(e.y, e.baseline)
    better, error, _ = daily_difference(trivial, mine, e.days)
    says = f"{gate.metric} {mine.mean():.4f}, trivial baseline {trivial.mean():.4f}"
    if e.champion is not None:
        return Rule("baseline", bool(mine.mean() < trivial.mean()), says)
    t = _t(better, error)
    return Rule("baseline", t >= gate.better_t, f"{says} (t = {t:.2f} over days, {gate.better_t:g} needed)")


def _slice_floor(gate: Gate, e: Evidence) -> Rule:
    floor = gate.slice_floor
    judged = {name: values for name, values in e.slices.items() if values["rows"] >= floor.min_rows}
    low = {name: values[floor.metric] for name, values in judged.items() if values[floor.metric] < floor.floor}
    fallen = ", ".join(f"{name} {value:.3f}" for name, value in low.items())
    good = f"{floor.metric} of {len(judged)} slices is at least {floor.floor:g}"
    return Rule("slices", not low, f"{floor.metric} below {floor.floor:g}: {fallen}" if low else good)


def _refit(gate: Gate, e: Evidence) -> Rule:
    moved = abs(e.refit_mean - float(e.challenger.mean()))
    held = bool(np.isfinite(moved)) and moved <= gate.refit_shift_max
    return Rule("refit", held, f"the refit moved the mean prediction by {moved:.3f} of {gate.refit_shift_max:g}")


def _t(mean: float, error: float) -> float:
    """The t statistic; without any spread over days it is infinite."""
    return mean / error if error > 0 else float(np.sign(mean)) * float("inf")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g}"
