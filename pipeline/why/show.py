"""How a prediction's record looks on a terminal, from 80 columns on. It adds nothing to the record."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from core.schema import ProblemSpec
from pipeline.why.gather import Origin, Seen, Why
from pipeline.why.recompute import Difference, Replay

UNKNOWN = "[dim]not recorded[/dim]"
LIKELIEST = 3  # classes that are shown
LONGEST = 8  # numbers of an array
SHOWN = 16  # digits of a digest; --json has all


def page(found: Why, spec: ProblemSpec) -> Group:
    parts: list[RenderableType] = []
    for title, content in _sections(found, spec):
        parts += ["", f"[bold]{title}[/bold]", Padding(content, (0, 0, 0, 2))]
    return Group(*parts[1:])


def verdict(found: Replay) -> Group:
    """Of a replay."""
    made_of = "the logged inputs" if found.basis == "inputs" else "the logged features"
    if not found.differences:
        return Group(f"[green]replayed: equal[/green], all {found.compared} values bit for bit, from {made_of}")
    if found.equal:
        said = f"[green]replayed: equal[/green] but for rounding, {found.compared} values from {made_of}"
    else:
        said = f"[red]replayed: different[/red], from {made_of}"
    table = _table("what", "logged", "replayed", "off by")
    for one in found.differences:
        table.add_row(_red(one), _text(one.logged), _text(one.replayed), "" if one.off is None else f"{one.off:.2g}")
    return Group(said, Padding(table, (0, 0, 0, 2)))


def _sections(found: Why, spec: ProblemSpec) -> Iterator[tuple[str, RenderableType]]:
    logged = found.prediction
    yield f"Prediction {logged['id']}", _pairs(_answer(logged, spec))
    yield "The inputs, as sent", _pairs((name, _sent(name, value, spec)) for name, value in logged["inputs"].items())
    if found.seen:
        yield "What the model saw", _features([one for one in found.seen if one.fed])
    if watched := [one for one in found.seen if not one.fed]:
        yield "What is watched besides", _features(watched)
    yield f"The model, version {found.origin.version}", _pairs(_origin(found.origin))
    yield "The gate", _gate(found.verdict)
    yield "Drift, as known when it was answered", _drift(found.drift, logged["model_version"])


def _answer(logged: Mapping[str, Any], spec: ProblemSpec) -> Iterator[tuple[str, str]]:
    yield "event", f"{escape(logged['event_id'])}, on {logged['day']}"
    yield "answer", _said(logged, spec)
    by = f"{logged['role']}, version {logged['model_version']}, in {logged['latency_ms']:.2g} ms of model time a row"
    yield "answered", f"{_moment(logged['served_at'])} by the {by}"
    yield "outcome", _outcome(logged, spec)


def _said(logged: Mapping[str, Any], spec: ProblemSpec) -> str:
    score = logged["score"]
    if score is None:
        return f"[red]none: {escape(str(logged['error']))}[/red]"
    if spec.task == "regression":
        return f"{spec.target} {score:.6g} {spec.target_unit or ''}".rstrip()
    if logged["outputs"]:
        best = sorted(zip(logged["outputs"], spec.classes, strict=True), reverse=True)[:LIKELIEST]
        each = ", ".join(f"{escape(name)} {probability:.4f}" for probability, name in best)
        return f"[bold]{escape(logged['label'])}[/bold]; probabilities: {each}"
    positive = spec.classes[1] if spec.classes else "1"
    label = f"[bold]{escape(logged['label'])}[/bold]; " if logged["label"] else ""
    return f"{label}probability {score:.4f} that {spec.target} is {escape(positive)}"


def _outcome(logged: Mapping[str, Any], spec: ProblemSpec) -> str:
    outcome = logged["outcome"]
    if outcome is None:
        return "not known yet"
    value = escape(spec.classes[int(outcome)]) if spec.classes else f"{outcome:g}"
    return f"[bold]{value}[/bold], known since the night after {logged['known_on']}"


def _sent(name: str, value: Any, spec: ProblemSpec) -> str:
    if name in spec.sensitive:
        return f"[dim]sensitive, logged as the hash[/dim] {str(value)[:SHOWN]} …"
    if isinstance(value, list):
        return f"{len(value)} numbers: {', '.join(f'{n:g}' for n in value[:LONGEST])} …"
    about = spec.columns.get(name) or spec.lookup_values.get(name)
    return f"{_text(value)} {about.unit or ''}".rstrip() if about else _text(value)


def _features(seen: Iterable[Seen]) -> Table:
    table = _table("feature", "value", "from", "as of (UTC)", "note")
    for one in seen:
        notes = f"[yellow]{', '.join(one.notes)}[/yellow]"
        source = one.source.removeprefix("look-up ")
        table.add_row(escape(one.name), _text(one.value), source, _short(one.as_of), notes)
    for column in table.columns[:4]:
        column.no_wrap = True
    return table


def _origin(origin: Origin) -> Iterator[tuple[str, str]]:
    window, rows = f"{origin.first_day} to {origin.last_day}", f"{origin.rows or 0:,} labelled events"
    options = ", ".join(f"{name} {value}" for name, value in origin.options.items())
    yield "candidate", f"{origin.candidate or UNKNOWN}{f' ({escape(options)})' if options else ''}"
    yield "trained on", f"{window}, {rows}" if origin.first_day else UNKNOWN
    yield "as of", origin.as_of or UNKNOWN
    yield "data version", origin.data_version or UNKNOWN
    yield "code revision", origin.revision or UNKNOWN
    yield "life cycle", origin.lifecycle or UNKNOWN
    yield "MLflow run", origin.run
    yield "SHA-256", f"{origin.digest[:SHOWN]} …" if origin.digest else UNKNOWN


def _gate(verdict: Mapping[str, Any] | None) -> RenderableType:
    if verdict is None:
        return "no verdict is kept with the version's run: it was released by hand, or before it was judged"
    rules = _table("rule", "", "", header=False)
    for rule in verdict["rules"]:
        rules.add_row(
            "[green]held[/green]" if rule["held"] else "[red]broken[/red]", rule["name"], escape(rule["says"])
        )
    return Group(f"[bold]{verdict['outcome']}[/bold]: {escape(verdict['reason'])}", rules)


def _drift(drift: Mapping[str, Any] | None, version: str) -> RenderableType:
    if drift is None:
        return "the monitor had not judged yet"
    judged = "no champion" if drift["champion"] is None else f"version {drift['champion']}"
    other = "" if drift["champion"] == version else ", which is not the one that answered"
    said = f"the night of {drift['as_of']}: [bold]{drift['decision']}[/bold], on {judged}{other}"
    reasons = _table("", "", header=False)
    for reason in drift["reasons"]:
        reasons.add_row("·", escape(reason))
    return Group(said, reasons)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = _table("", "", header=False)
    for name, value in pairs:
        table.add_row(f"[dim]{escape(name)}[/dim]", value)
    return table


def _table(*columns: str, header: bool = True) -> Table:
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header, header_style="dim")
    for column in table.columns:
        column.overflow = "fold"
    return table


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def _red(one: Difference) -> str:
    return one.what if one.rounding else f"[red]{escape(one.what)}[/red]"


def _short(moment: str | None) -> str:
    """ISO 8601 in UTC, to the minute where it is a whole one."""
    return moment.removesuffix("Z").removesuffix(":00").replace("T", " ") if moment else ""


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
