"""The days of the loop, one row each, and their table for the terminal. Reads; draws nothing else.

A row is a day of traffic with the decision *as of* it: made at that night's cut-off, before the day's traffic, on
the window of days before. So its evidence is about the days before, and its champion is who answered after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from core import decisions, predictions
from core.predictions import CANARY
from core.schema import ProblemSpec
from pipeline.report.words import interval, number, percent, terms

STYLES = {"retrain": "bold yellow", "roll back": "bold red", "ignore": "dim"}


@dataclass(frozen=True)
class Day:
    """One day. None: not known, or not recorded."""

    day: date
    requests: int = 0  # rows that were answered or failed, single or in a batch
    failed: int = 0
    last_at: float | None = None  # when its last request was served: seconds since 1970, UTC
    champions: tuple[str, ...] = ()  # versions that answered as champion, in their order
    challenger: str | None = None  # version that answered as canary
    challenger_share: float = 0.0  # of the day's requests
    by_version: Mapping[str, int] = field(default_factory=dict)  # requests
    labelled: int = 0  # requests of the day whose outcome is known by now
    observed: float | None = None  # their mean outcome; of more than two classes the share of right answers
    expected: float | None = None  # their mean prediction (core.task's score)
    decision: str | None = None
    reasons: tuple[str, ...] = ()
    judged: str | None = None  # version that the decision is about
    evidence: Mapping[str, Any] = field(default_factory=dict)  # monitoring's Evidence, of the window before the day
    report: str | None = None  # file of the Evidently report

    @property
    def champion(self) -> str | None:
        """The last version that answered as champion; without traffic, the one that was judged."""
        return self.champions[-1] if self.champions else self.judged


def timeline(engine: Engine, spec: ProblemSpec) -> list[Day]:
    """Every day with traffic or with a champion to judge, oldest first."""
    classes = spec.classes if spec.task == "multiclass" else ()
    answered = predictions.daily(engine, spec.name, classes)
    served = {day: list(rows) for day, rows in groupby(answered, lambda row: row["day"])}
    decided = {row["as_of"]: row for row in decisions.history(engine, spec.name)}
    days = [_day(day, served.get(day, []), decided.get(day)) for day in sorted({*served, *decided})]
    return [day for day in days if day.requests or day.judged]


def table(days: Sequence[Day], spec: ProblemSpec) -> Table:
    """For a terminal of 100 columns."""
    said = terms(spec)
    caption = (
        f"Drift (share of the columns), {said.loss} (95 % interval) and |O−E| ({said.off}) are of the "
        f"{spec.monitor.window_days} days before, as that night's decision saw them."
    )
    made = Table(
        title="What happened, day by day",
        title_style="bold",
        title_justify="left",
        caption=caption,
        caption_style="dim",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for name in ("day", "requests", "drift", f"live {said.loss}", "|O−E|", "decision", "champion"):
        made.add_column(name, justify="right" if name in ("requests", "drift", "|O−E|") else "left", no_wrap=True)
    for day in days:
        made.add_row(*_cells(day, spec))
    return made


def _cells(day: Day, spec: ProblemSpec) -> list[Text]:
    e = day.evidence
    off = e.get("residual_mean")
    loud = off is not None and abs(off) >= spec.monitor.calibration_max
    return [
        Text(day.day.isoformat()),
        Text(f"{day.requests:,}" if day.requests else "–") + Text(f" ({day.failed} failed)" * bool(day.failed), "red"),
        Text(percent(e.get("drift_share"))),
        Text(interval(e.get("loss"), e.get("loss_low"), e.get("loss_high"))),
        Text(number(None if off is None else abs(off)), "bold" if loud else ""),
        Text(day.decision or "–", STYLES.get(day.decision or "", "")),
        Text(answered_by(day)),
    ]


def answered_by(day: Day) -> str:
    """Who answered: `1`, `1 (canary 2: 9 %)`, `1 → 2 (canary 9 %)` when it was replaced on that day."""
    text = " → ".join(day.champions) or day.judged or "–"
    if day.challenger is None:
        return text
    name = "" if day.challenger in day.champions else f"{day.challenger}: "
    return f"{text} (canary {name}{percent(day.challenger_share)})"


def _day(day: date, rows: Sequence[Mapping[str, Any]], decision: Mapping[str, Any] | None) -> Day:
    return Day(day, **_traffic(rows), **_decision(decision))


def _traffic(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`rows` of one day, as from core.predictions.daily."""
    if not rows:
        return {}
    total = sum(row["answers"] for row in rows)
    canary = [row for row in rows if row["role"] == CANARY]
    labelled = sum(row["labelled"] for row in rows)
    by_version: dict[str, int] = {}
    for row in rows:
        by_version[row["model_version"]] = by_version.get(row["model_version"], 0) + row["answers"]
    return {
        "requests": total,
        "failed": sum(row["failed"] for row in rows),
        "last_at": max(row["last_at"] for row in rows),
        "champions": tuple(row["model_version"] for row in rows if row["role"] != CANARY),
        "challenger": canary[-1]["model_version"] if canary else None,
        "challenger_share": sum(row["answers"] for row in canary) / total,
        "by_version": by_version,
        "labelled": labelled,
        "observed": _mean(rows, "observed", labelled),
        "expected": _mean(rows, "expected", labelled),
    }


def _decision(row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {
        "decision": row["decision"],
        "reasons": tuple(row["reasons"]),
        "judged": row["champion"],
        "evidence": row["evidence"],
        "report": row["report"],
    }


def _mean(rows: Sequence[Mapping[str, Any]], name: str, labelled: int) -> float | None:
    return sum(row[name] * row["labelled"] for row in rows if row["labelled"]) / labelled if labelled else None
