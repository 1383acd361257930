"""The retraining policy: evidence in, a decision with its reasons out. Pure, no data and no clock.

What counts is calibration on matured labels, the prediction's own distribution and age. Input drift explains and
raises alarms; alone it retrains nothing, because on autocorrelated data it is a constant alarm.
"""

from dataclasses import dataclass
from typing import Literal

from core.schema import Monitor
from monitoring.evidence import Evidence

MIN_ROLLBACK_DAYS = 3  # labelled days: fewer give no t statistic worth the name
SHOWN_COLUMNS = 3


@dataclass(frozen=True)
class Decision:
    """What to do, and why: sentences with numbers, the decisive ones first."""

    decision: Literal["ignore", "retrain", "roll back"]
    reasons: list[str]


@dataclass(frozen=True)
class _Finding:
    fires: bool
    text: str


def decide(
    evidence: Evidence,
    monitor: Monitor,
    champion_age_days: int,
    days_since_release: int,
    previous_champion: bool,
    days_since_retrain: int | None = None,
) -> Decision:
    """Ignore, retrain or roll back.

    `champion_age_days` counts from the last day that the champion was trained on. The cool-down runs from the
    release or, when that is more recent, from the last retrain decision, whose challenger may have been refused.
    """
    if not evidence.rows:
        return Decision("ignore", ["no predictions by the champion in the window"])
    worse = _baseline(evidence, monitor)
    findings = [_calibration(evidence, monitor), _prediction(evidence, monitor), _age(champion_age_days, monitor)]
    fired = [f.text for f in findings if f.fires]
    others = [f.text for f in [*findings, worse] if not f.fires] + _explanations(evidence)
    if worse.fires and previous_champion:
        return Decision("roll back", [worse.text, *fired, *others])
    if worse.fires:
        others = [f"{worse.text}, but no previous champion to roll back to", *others]
    waiting = _cooldown(days_since_release, days_since_retrain, monitor)
    if fired and waiting:
        return Decision("ignore", [waiting, *fired, *others])
    return Decision("retrain" if fired else "ignore", [*fired, *others])


def _baseline(e: Evidence, m: Monitor) -> _Finding:
    if e.baseline_t is None or e.rows < m.min_rows or e.labelled_days < MIN_ROLLBACK_DAYS:
        return _Finding(False, "too few labelled days or rows for a comparison with the constant rate")
    fires = e.baseline_t >= m.rollback_t
    verdict = "credibly worse" if fires else "not credibly worse"
    text = f"log loss is {verdict} than a constant rate's: t = {e.baseline_t:.2f} over {e.labelled_days} labelled days"
    return _Finding(fires, f"{text}, limit {m.rollback_t:g}")


def _calibration(e: Evidence, m: Monitor) -> _Finding:
    if e.rows < m.min_rows:
        return _Finding(False, f"{e.rows} rows are no evidence, {m.min_rows} are needed")
    if e.labelled_days < m.window_days or e.residual_mean is None:
        days = f"{e.labelled_days} of {m.window_days} labelled days"
        return _Finding(False, f"warming up: {days}, so no verdict on calibration")
    fires = abs(e.residual_mean) >= m.calibration_max
    interval = _interval(e.residual_low, e.residual_high)
    text = f"calibration is {'off' if fires else 'fine'}: observed - predicted rate is {e.residual_mean:+.3f}{interval}"
    return _Finding(fires, f"{text} over {e.labelled_days} labelled days, limit {m.calibration_max:g}")


def _prediction(e: Evidence, m: Monitor) -> _Finding:
    if e.prediction_psi is None:
        return _Finding(False, "no reference, so no verdict on the predictions' distribution")
    if e.rows < m.min_rows or e.days < m.window_days:
        days = f"{e.days} of {m.window_days} days, {e.rows} rows"
        return _Finding(False, f"warming up: {days}, so no verdict on the predictions' distribution")
    fires = e.prediction_psi >= m.prediction_psi_max
    verb = "has shifted" if fires else "is steady"
    text = f"the predictions' distribution {verb}: PSI {e.prediction_psi:.3f}, limit {m.prediction_psi_max:g}"
    return _Finding(fires, text)


def _age(days: int, m: Monitor) -> _Finding:
    return _Finding(days > m.max_age_days, f"the champion's training data end {days} days ago, limit {m.max_age_days}")


def _cooldown(since_release: int, since_retrain: int | None, m: Monitor) -> str | None:
    """Why to wait, or None."""
    last, event = since_release, "release"
    if since_retrain is not None and since_retrain < since_release:
        last, event = since_retrain, "retrain decision"
    if last >= m.cooldown_days:
        return None
    return f"cooling down: {last} days since the last {event}, {m.cooldown_days} are waited for"


def _explanations(e: Evidence) -> list[str]:
    texts = []
    if e.drifted:
        top = ", ".join(f"{name} {psi:.2f}" for name, psi in list(e.drifted.items())[:SHOWN_COLUMNS])
        share = f", {e.drift_share:.0%} of the columns" if e.drift_share is not None else ""
        texts.append(f"inputs drifted (explains, decides nothing): {len(e.drifted)}{share}; PSI {top}")
    texts += [f"alarm: {100 * rise:.0f} points more of {name} are missing" for name, rise in e.null_alarms.items()]
    if e.empty_columns:
        texts.append(f"alarm: no values to compare in {', '.join(e.empty_columns)}")
    return texts


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
