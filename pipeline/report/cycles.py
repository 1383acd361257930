"""One life cycle for the page: the candidates side by side, why one won, and what the gate said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from core.schema import ProblemSpec
from pipeline.evaluate import BASELINE
from pipeline.report.svg import whisker
from pipeline.report.words import interval, metric_name, number, sentence, size

if TYPE_CHECKING:
    from core.registry import Lifecycle

SHOWN = ("roc_auc", "observed_minus_expected")  # after the problem's own gate metric
OUTCOMES = {"promote": "passed the gate", "keep": "kept out", "block": "blocked"}


@dataclass(frozen=True)
class Cell:
    """A metric in words and as a dot with its interval."""

    text: str
    picture: Markup


@dataclass(frozen=True)
class Row:
    """One candidate. Without cells: refused."""

    name: str
    winner: bool
    cells: list[Cell]
    p99: str
    bytes: str
    fit: str
    refused: str


@dataclass(frozen=True)
class Cycle:
    as_of: str
    trigger: str
    version: str | None
    winner: str
    why: str
    judged_on: str
    metrics: list[str]
    rows: list[Row]
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
    metrics = shown_metrics(comparison, spec)
    outcome = verdict.get("outcome")
    return Cycle(
        as_of=tags.get("as_of", ""),
        trigger=trigger(tags.get("reason", "")),
        version=verdict.get("version"),
        winner=comparison.get("winner", tags.get("winner", "")),
        why=sentence(comparison.get("reason", "")),
        judged_on=f"{comparison['rows']:,} rows of {comparison['days']} later days" if comparison else "",
        metrics=[metric_name(name) for name in metrics],
        rows=candidate_rows(comparison, metrics),
        slices=_slices(comparison, metrics),
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


def shown_metrics(comparison: Mapping[str, Any], spec: ProblemSpec) -> list[str]:
    measured = {name for values in comparison.get("metrics", {}).values() for name in values}
    return [name for name in dict.fromkeys((spec.gate.metric, *SHOWN)) if name in measured]


def candidate_rows(comparison: Mapping[str, Any], metrics: Sequence[str]) -> list[Row]:
    """Best first by the first metric, a loss; then the baseline, then who was refused."""
    measured = comparison.get("metrics", {})
    spans = {metric: _span([values[metric] for values in measured.values()]) for metric in metrics}
    order = sorted(measured, key=lambda name: (name == BASELINE, measured[name][metrics[0]]["value"]))
    rows = []
    for name in [*order, *(name for name in comparison.get("refused", {}) if name not in measured)]:
        cells = [_cell(metric, measured[name][metric], spans[metric]) for metric in metrics] if name in measured else []
        rows.append(_row(name, cells, comparison))
    return rows


def _row(name: str, cells: list[Cell], comparison: Mapping[str, Any]) -> Row:
    cost = comparison.get("cost", {}).get(name, {})
    p99, fit = cost.get("p99_ms"), cost.get("fit_s")
    return Row(
        name=name,
        winner=name == comparison["winner"],
        cells=cells,
        p99="–" if p99 is None else f"{p99:.3f} ms",
        bytes=size(comparison.get("bytes", {}).get(name, cost.get("bytes"))),
        fit="–" if fit is None else f"{fit:.1f} s",
        refused=comparison.get("refused", {}).get(name, ""),
    )


def _cell(metric: str, ends: Mapping[str, float | None], span: tuple[float, float]) -> Cell:
    value, low, high = ends["value"], ends.get("low"), ends.get("high")
    text = interval(value, low, high, sign=metric == "observed_minus_expected")
    return Cell(text, Markup("") if value is None else whisker(value, low, high, span))


def _span(described: Sequence[Mapping[str, float | None]]) -> tuple[float, float]:
    ends = [end for values in described for end in values.values() if end is not None]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _slices(comparison: Mapping[str, Any], metrics: Sequence[str]) -> list[list[str]]:
    found = comparison.get("slices", {})
    return [
        [name, f"{values['rows']:,}", *(number(values.get(m), sign=m == "observed_minus_expected") for m in metrics)]
        for name, values in found.items()
    ]
