"""One day of monitoring: read the live window, gather the evidence, decide, record. It acts on nothing.

Who is champion, since when, and on what it was trained comes from the caller: nothing here knows the registry.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from core import decisions, predictions
from core.scored import Trivial
from monitoring import evidence as ev
from monitoring import frames
from monitoring.policy import Decision, decide
from problems import Problem

if TYPE_CHECKING:
    import pandas as pd

Keep = Callable[[Path, Decision], str]  # takes a report's HTML, with the JSON beside it; returns where it is kept
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """The model version that is judged."""

    version: str
    trained_through: date  # last day whose events it was trained on
    released_as_of: date  # when it became champion
    trivial: Trivial  # of its training window: the constant to beat and the unit of residuals
    previous: str | None = None  # version to roll back to


def run(
    engine: Engine,
    problem: Problem,
    as_of: date,
    champion: Champion | None,
    reference: "pd.DataFrame | None",
    reports: Path,
    keep: Keep = lambda html, _: str(html),
) -> Decision:
    """Judge the champion on the window_days before `as_of`, with the labels known at that night's cut-off.

    `reference` is a scored frame (core.scored) sampled from the champion's training window. The report goes to
    reports/PROBLEM/AS_OF.html and .json, and where `keep` takes it. Repeating a day replaces its decision.
    """
    target = reports / problem.spec.name / as_of.isoformat()
    for suffix in (".html", ".json"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    if champion is None:
        found, decision = ev.Evidence(), Decision("ignore", ["no champion to judge"])
    else:
        found = _evidence(engine, problem, as_of, champion, reference, target)
        decision = _judge(engine, problem, as_of, champion, found)
    html = Path(f"{target}.html")
    row = {
        "problem": problem.spec.name,
        "as_of": as_of,
        "made_at": time.time(),
        "decision": decision.decision,
        "champion": champion.version if champion else None,
        "reasons": decision.reasons,
        "evidence": asdict(found),
        "report": keep(html, decision) if html.exists() else None,
    }
    decisions.record(engine, row)
    log.info("%s %s: %s, because %s", problem.spec.name, as_of, decision.decision, "; ".join(decision.reasons))
    return decision


def _evidence(
    engine: Engine,
    problem: Problem,
    as_of: date,
    champion: Champion,
    reference: "pd.DataFrame | None",
    target: Path,
) -> ev.Evidence:
    spec = problem.spec
    first, last = as_of - timedelta(days=spec.monitor.window_days), as_of - timedelta(days=1)
    rows = predictions.live(engine, spec.name, first, last, known_before=as_of, inputs=spec.cluster is not None)
    current = frames.current(spec, rows, champion.version, champion.trivial)
    log.info("%s %s: %d answers, %d events by %s", spec.name, as_of, len(rows), len(current), champion.version)
    return ev.build(current, reference, spec, target, datetime.combine(as_of, clock()))


def _judge(engine: Engine, problem: Problem, as_of: date, champion: Champion, found: ev.Evidence) -> Decision:
    history = decisions.history(engine, problem.spec.name, until=as_of)
    retrains = [row["as_of"] for row in history if row["decision"] == "retrain"]
    return decide(
        found,
        problem.spec,
        champion_age_days=(as_of - champion.trained_through).days,
        days_since_release=(as_of - champion.released_as_of).days,
        previous_champion=champion.previous is not None,
        days_since_retrain=(as_of - retrains[-1]).days if retrains else None,
    )
