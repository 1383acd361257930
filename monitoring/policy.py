"""The retraining policy: evidence in, a decision with its reasons out. Pure, no data and no clock.

What counts is calibration on matured labels, the prediction's own distribution and age. Input drift explains and
raises alarms; alone it retrains nothing, because on autocorrelated data it is a constant alarm.
"""

from dataclasses import dataclass
from typing import Literal

from core.schema import Monitor, ProblemSpec
from monitoring.evidence import Evidence
from monitoring.words import Words, words

MIN_ROLLBACK_DAYS = 3  # labelled days: fewer give no t statistic worth the name
ROWS_A_CLASS = 20  # fewer, and chance alone moves the PSI of many classes
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
    spec: ProblemSpec,
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
    monitor, said = spec.monitor, words(spec)
    worse = _baseline(evidence, monitor, said)
    findings = [
        _calibration(evidence, monitor, said),
        _prediction(evidence, monitor, said, len(spec.classes)),
        _age(champion_age_days, monitor),
    ]
    fired = [f.text for f in findings if f.fires]
    others = [f.text for f in [*findings, worse] if not f.fires] + _explanations(evidence, monitor)
    if worse.fires and previous_champion:
        return Decision("roll back", [worse.text, *fired, *others])
    if worse.fires:
        others = [f"{worse.text}, but no previous champion to roll back to", *others]
    waiting = _cooldown(days_since_release, days_since_retrain, monitor)
    if fired and waiting:
        return Decision("ignore", [waiting, *fired, *others])
    return Decision("retrain" if fired else "ignore", [*fired, *others])


def _baseline(e: Evidence, m: Monitor, said: Words) -> _Finding:
    if e.baseline_t is None or e.rows < m.min_rows or e.labelled_days < MIN_ROLLBACK_DAYS:
        return _Finding(False, f"too few labelled days or rows for a comparison with the {said.constant}")
    fires = e.baseline_t >= m.rollback_t
    verdict = "credibly worse" if fires else "not credibly worse"
    text = f"{said.loss} is {verdict} than a {said.constant}'s: t = {e.baseline_t:.2f}"
    return _Finding(fires, f"{text} over {e.labelled_days} labelled days, limit {m.rollback_t:g}")


def _calibration(e: Evidence, m: Monitor, said: Words) -> _Finding:
    if e.rows < m.min_rows:
        return _Finding(False, f"{e.rows} rows are no evidence, {m.min_rows} are needed")
    if e.labelled_days < _days(m) or e.residual_mean is None:
        days = f"{e.labelled_days} of {_days(m)} labelled days"
        return _Finding(False, f"warming up: {days}, so no verdict on calibration")
    fires = abs(e.residual_mean) >= m.calibration_max
    value = f"{e.residual_mean:+.3f}{_interval(e.residual_low, e.residual_high)}{said.unit}"
    text = f"calibration is {'off' if fires else 'fine'}: {said.residual} is {value}"
    return _Finding(fires, f"{text} over {e.labelled_days} labelled days, limit {m.calibration_max:g}")


def _prediction(e: Evidence, m: Monitor, said: Words, classes: int) -> _Finding:
    """On the score or, with enough rows, the predicted class: whichever moved more."""
    if e.prediction_psi is None:
        return _Finding(False, "no reference, so no verdict on the predictions' distribution")
    if e.rows < m.min_rows or e.days < _days(m):
        days = f"{e.days} of {_days(m)} days, {e.rows} rows"
        return _Finding(False, f"warming up: {days}, so no verdict on the predictions' distribution")
    psi, what = e.prediction_psi, said.scores
    if e.label_psi is not None and e.label_psi > psi and e.rows >= ROWS_A_CLASS * classes:
        psi, what = e.label_psi, "predicted classes"
    fires = psi >= m.prediction_psi_max
    verb = "has shifted" if fires else "is steady"
    return _Finding(fires, f"the {what}' distribution {verb}: PSI {psi:.3f}, limit {m.prediction_psi_max:g}")


def _age(days: int, m: Monitor) -> _Finding:
    return _Finding(days > m.max_age_days, f"the champion's training data end {days} days ago, limit {m.max_age_days}")


def _days(m: Monitor) -> int:
    """Days that a verdict needs."""
    return m.window_days if m.min_days is None else m.min_days


def _cooldown(since_release: int, since_retrain: int | None, m: Monitor) -> str | None:
    """Why to wait, or None."""
    last, event = since_release, "release"
    if since_retrain is not None and since_retrain < since_release:
        last, event = since_retrain, "retrain decision"
    if last >= m.cooldown_days:
        return None
    return f"cooling down: {last} days since the last {event}, {m.cooldown_days} are waited for"


def _explanations(e: Evidence, m: Monitor) -> list[str]:
    texts = []
    if e.drifted:
        top = ", ".join(f"{name} {psi:.2f}" for name, psi in list(e.drifted.items())[:SHOWN_COLUMNS])
        share = f", {e.drift_share:.0%} of the columns" if e.drift_share is not None else ""
        texts.append(f"inputs drifted (explains, decides nothing): {len(e.drifted)}{share}; PSI {top}")
    if e.embedding_psi is not None and e.embedding_psi >= m.column_psi_max:
        texts.append(f"the model's embedding drifted (explains, decides nothing): mean PSI {e.embedding_psi:.2f}")
    texts += [f"alarm: {100 * rise:.0f} points more of {name} are missing" for name, rise in e.null_alarms.items()]
    if e.empty_columns:
        texts.append(f"alarm: no values to compare in {', '.join(e.empty_columns)}")
    return texts


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
