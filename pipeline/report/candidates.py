"""The candidates of one life cycle side by side: quality, latency, size, and what they cost. For page and terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from rich import box
from rich.table import Table
from rich.text import Text

from core.schema import Cost, ProblemSpec, TaskName
from pipeline.evaluate import BASELINE
from pipeline.metrics import CALIBRATION, Described, measures
from pipeline.report.svg import whisker
from pipeline.report.words import DIGITS, NONE, interval, metric_name, money, number, signed, size

BESIDE: dict[TaskName, tuple[str, str]] = {  # what is shown beside the primary metric: the first that is not it
    "binary": ("roc_auc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "mae"),
}


@dataclass(frozen=True)
class Cell:
    """A metric in words, with its interval and without, and as a dot with its interval."""

    text: str
    short: str
    picture: Markup


@dataclass(frozen=True)
class Row:
    """One candidate. Without cells: refused."""

    name: str
    winner: bool
    cells: list[Cell]
    p50: str
    p99: str
    bytes: str
    fit: str
    cost: str
    refused: str


def cost_per_million(p50_ms: float | None, cost: Cost) -> float | None:
    """Price of a million predictions, one row each: median milliseconds of a row x 1,000,000 rows / 3,600,000
    milliseconds in an hour x price of one CPU core for an hour. The graph alone, at full load, without HTTP."""
    return None if p50_ms is None else p50_ms * 1e6 / 3.6e6 * cost.cpu_hour


def cost_note(cost: Cost) -> str:
    """The same in words, for below a table."""
    price = f"{cost.cpu_hour:g} {cost.currency}"
    return f"Cost: a million rows, one by one, at the median time of one, on a CPU core at {price} an hour."


def shown_metrics(comparison: Mapping[str, Any], spec: ProblemSpec) -> list[str]:
    """The primary metric, another one of the task, and the calibration: those that were measured."""
    measured = {name for values in comparison.get("metrics", {}).values() for name in values}
    beside = next(name for name in BESIDE[spec.task] if name != spec.gate.metric)
    return [name for name in (spec.gate.metric, beside, CALIBRATION) if name in measured]


def rows(comparison: Mapping[str, Any], spec: ProblemSpec) -> list[Row]:
    """Best first by the first metric; then the baseline, then who was refused."""
    measured, shown = comparison.get("metrics", {}), shown_metrics(comparison, spec)
    spans = {metric: _span([values[metric] for values in measured.values()]) for metric in shown}
    order = [*_ranked(measured, shown, spec), *(name for name in comparison.get("refused", {}) if name not in measured)]
    cells = {name: [_cell(m, measured[name][m], spans[m], spec) for m in shown] for name in measured}
    return [_row(name, cells.get(name, []), comparison, spec) for name in order]


def table(comparison: Mapping[str, Any], spec: ProblemSpec) -> Table:
    """For a terminal of 100 columns. `comparison` is a life cycle's, as recorded: metrics, costs and the choice."""
    made = Table(
        title="The candidates",
        title_style="bold",
        title_justify="left",
        caption="\n".join([comparison.get("reason", ""), *_refusals(comparison), cost_note(spec.cost)]),
        caption_style="dim",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown = [metric_name(metric, spec) for metric in shown_metrics(comparison, spec)]
    made.add_column("candidate", no_wrap=True)
    for name in (*shown, "p50 ms", "p99 ms", "size", "fit", f"{spec.cost.currency} for 10⁶"):
        made.add_column(name, justify="left" if name in shown[:1] else "right", no_wrap=True)
    for row in rows(comparison, spec):
        style = "bold green" if row.winner else ""
        values = [Text(row.cells[0].text), *(Text(cell.short) for cell in row.cells[1:])] if row.cells else []
        values = values or [Text("refused", "red"), *[Text()] * (len(shown) - 1)]
        made.add_row(Text(row.name, style), *values, row.p50, row.p99, row.bytes, row.fit, row.cost)
    return made


def slices(comparison: Mapping[str, Any], spec: ProblemSpec) -> list[list[str]]:
    """The winner on each slice: name, rows, the shown metrics."""
    shown, found = shown_metrics(comparison, spec), comparison.get("slices", {})
    return [
        [name, f"{values['rows']:,}", *(number(values.get(m), _digits(m, spec), m == CALIBRATION) for m in shown)]
        for name, values in found.items()
    ]


def _ranked(measured: Mapping[str, Any], shown: Sequence[str], spec: ProblemSpec) -> list[str]:
    known = measures(spec)
    sign = -1 if shown and shown[0] in known and known[shown[0]].higher else 1

    def place(name: str) -> tuple[bool, bool, float]:
        value = measured[name][shown[0]]["value"] if shown else None
        return name == BASELINE, value is None, sign * (value or 0.0)

    return sorted(measured, key=place)


def _row(name: str, cells: list[Cell], comparison: Mapping[str, Any], spec: ProblemSpec) -> Row:
    cost = comparison.get("cost", {}).get(name, {})
    fit = cost.get("fit_s")
    return Row(
        name=name,
        winner=name == comparison["winner"],
        cells=cells,
        p50=number(cost.get("p50_ms")),
        p99=number(cost.get("p99_ms")),
        bytes=size(comparison.get("bytes", {}).get(name, cost.get("bytes"))),
        fit=NONE if fit is None else f"{fit:.1f} s",
        cost=money(cost_per_million(cost.get("p50_ms"), spec.cost)),
        refused=comparison.get("refused", {}).get(name, ""),
    )


def _cell(metric: str, ends: Described, span: tuple[float, float], spec: ProblemSpec) -> Cell:
    value, low, high, digits = ends["value"], ends.get("low"), ends.get("high"), _digits(metric, spec)
    text = signed(value, low, high) if metric == CALIBRATION else interval(value, low, high, digits)
    short = number(value, digits, sign=metric == CALIBRATION)
    return Cell(text, short, Markup("") if value is None else whisker(value, low, high, span))


def _digits(metric: str, spec: ProblemSpec) -> int | None:
    """Decimals: three, but of losses as many as their size needs."""
    known = measures(spec).get(metric)
    return DIGITS if known is None or known.higher else None


def _refusals(comparison: Mapping[str, Any]) -> list[str]:
    return [f"{name} is refused: {reason}" for name, reason in comparison.get("refused", {}).items()]


def _span(described: Sequence[Described]) -> tuple[float, float]:
    ends = [end for values in described for end in values.values() if end is not None]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)
