"""One self-contained HTML page about what happened: no script, no network, nothing but what was recorded."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from sqlalchemy import Engine

from core.schema import ProblemSpec
from pipeline.report import candidates, cycles, plots, story, words
from pipeline.report.lineage import trace
from pipeline.report.timeline import Day, answered_by, timeline

if TYPE_CHECKING:
    from core.registry import Event, Registry

WIDE, NARROW = 1080, 400  # pixels; the style sheet shows one of the two drawings
SHOWN_DAYS, SHOWN_CYCLES = 60, 12  # the newest; the rest is in the registry and the store


def write(
    path: Path, engine: Engine, registry: "Registry", spec: ProblemSpec, facts: Mapping[str, str] | None = None
) -> Path:
    """Write the page to `path`; links to Evidently's reports are relative to it. Returns `path`.

    `facts` are further key numbers, name -> value in words, such as how long a demo took.
    """
    days, events, release = timeline(engine, spec), registry.history(), registry.release()
    names = {version: registry.tags(version).get("candidate", "") for version in _versions(days, events)}
    found = [cycles.cycle(lifecycle, spec) for lifecycle in registry.lifecycles()]
    recent = days[-SHOWN_DAYS:]
    marks = story.marks(events, recent)
    content = {
        "spec": spec,
        "headline": story.headline(release.champion, events, days, names),
        "summary": story.summary(days),
        "why": story.why(release.champion, events, found),
        "numbers": story.numbers(days, events, facts or {}),
        "pictures": {w: plots.draw(recent, spec, marks, names, width) for w, width in _widths().items()}
        if days
        else {},
        "days": recent,
        "earlier_days": len(days) - len(recent),
        "links": {day.day: link for day in recent if (link := _link(day, path))},
        "cycles": found[-SHOWN_CYCLES:],
        "earlier_cycles": len(found[:-SHOWN_CYCLES]),
        "said": words.terms(spec),
        "cost_note": candidates.cost_note(spec.cost),
        "entries": story.entries(events, days),
        "lineage": trace(registry, release.champion) if release.champion else None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_template().render(content), encoding="utf-8")
    return path


def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"words": words, "answered_by": answered_by}
    return environment.get_template("page.html.j2")


def _widths() -> dict[str, int]:
    return {"wide": WIDE, "narrow": NARROW}


def _versions(days: Sequence[Day], events: Iterable["Event"]) -> list[str]:
    """Every version that is spoken of, in the order of their numbers."""
    judged = {day.judged for day in days if day.judged}
    return sorted({*judged, *(v for day in days for v in day.by_version), *(e.version for e in events)}, key=int)


def _link(day: Day, path: Path) -> str | None:
    """The day's Evidently report, relative to the page; None when it is gone."""
    if day.report is None or not Path(day.report).exists():
        return None
    relative = os.path.relpath(Path(day.report).resolve(), path.parent.resolve())
    return quote(Path(relative).as_posix())
