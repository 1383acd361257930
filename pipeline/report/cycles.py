"""One life cycle for the page: the candidates side by side, why one won, and what the gate said of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.schema import ProblemSpec
from pipeline.report import candidates
from pipeline.report.words import metric_name, sentence

if TYPE_CHECKING:
    from core.registry import Lifecycle

OUTCOMES = {"promote": "passed the gate", "keep": "kept out", "block": "blocked"}


@dataclass(frozen=True)
class Cycle:
    as_of: str
    trigger: str
    version: str | None
    winner: str
    why: str
    judged_on: str
    metrics: list[str]
    rows: list[candidates.Row]
    slices: list[list[str]]  # name, rows, metrics...
    outcome: str | None
    outcome_words: str
    reason: str
    rules: list[dict[str, Any]]
    run: str
    data_version: str
    revision: str


def cycle(lifecycle: "Lifecycle", spec: ProblemSpec) -> Cycle:
    tags, comparison, verdict = lifecycle.tags, lifecycle.comparison, lifecycle.verdict
    outcome = verdict.get("outcome")
    return Cycle(
        as_of=tags.get("as_of", ""),
        trigger=trigger(tags.get("reason", "")),
        version=verdict.get("version"),
        winner=comparison.get("winner", tags.get("winner", "")),
        why=sentence(comparison.get("reason", "")),
        judged_on=f"{comparison['rows']:,} rows of {comparison['days']} later days" if comparison else "",
        metrics=[metric_name(name, spec) for name in candidates.shown_metrics(comparison, spec)],
        rows=candidates.rows(comparison, spec),
        slices=candidates.slices(comparison, spec),
        outcome=outcome,
        outcome_words=OUTCOMES.get(outcome, outcome) if outcome else "not judged",
        reason=sentence(verdict.get("reason", "")),
        rules=verdict.get("rules", []),
        run=lifecycle.run,
        data_version=tags.get("data_version", ""),
        revision=tags.get("revision", ""),
    )


def trigger(reason: str) -> str:
    """Who started it, from the life cycle's recorded reason: `monitor: ...`, `nightly`, `asked for by hand`."""
    by, _, why = reason.partition(": ")
    if by == "monitor":
        return f"the monitor: {why}"
    return {"nightly": "the nightly schedule", "asked for by hand": "hand", "": "whom, is not recorded"}.get(
        reason, reason
    )
