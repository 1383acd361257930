"""What the page says in words: the headline, the key numbers, the release events. Everything comes from records."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pipeline.report.cycles import Cycle
from pipeline.report.strips import Mark
from pipeline.report.timeline import Day
from pipeline.report.words import long_day, moment, plural, sentence

if TYPE_CHECKING:
    from core.registry import Event

CHANGES = ("promote", "roll back")
MARKS = {"promote": ("✓", "good"), "keep out": ("✗", "bad"), "roll back": ("↩", "bad")}
DONE = {
    "promote": "promoted",
    "keep out": "kept out",
    "roll back": "rolled back to",
    "canary": "canary started",
    "shadow": "shadow started",
}


@dataclass(frozen=True)
class Entry:
    """One line of the audit trail."""

    at: str
    day: str  # of the traffic that it changed
    action: str
    version: str
    before: str
    actor: str
    reason: str
    evidence: str  # JSON, or empty
    finished: bool


def headline(champion: str | None, events: Sequence["Event"], days: Sequence[Day], names: Mapping[str, str]) -> str:
    """Who is champion, and since when, in one sentence."""
    if champion is None:
        return "There is no champion yet."
    changes = [event for event in events if event.action in CHANGES]
    if not changes or (changes[-1].action == "promote" and changes[-1].before is None):
        return f"{_called(champion, names)} has been the champion from the start."
    last, when = changes[-1], day_of(changes[-1], days)
    on = f" on {long_day(when)}" if when else ""
    if last.action == "roll back":
        return f"{_called(champion, names)} is the champion again: version {last.before} was rolled back{on}."
    return f"{_called(champion, names)} replaced {_called(last.before or '', names).lower()} as champion{on}."


def why(champion: str | None, events: Sequence["Event"], cycles: Sequence[Cycle]) -> list[str]:
    """Sentences: what started the life cycle that made the champion, and what let it through."""
    changes = [event for event in events if event.action in CHANGES]
    if champion is None or not changes:
        return []
    last = changes[-1]
    if last.action == "roll back":
        return [f"Why: {last.reason}."]
    made = next((cycle for cycle in reversed(cycles) if cycle.version == champion), None)
    if made is None:
        return [sentence(last.reason)]
    said = [f"Its life cycle was started by {made.trigger.split('; ')[0]}.", f"The gate: {made.reason}"]
    return [*said, f"The canary: {last.reason}."] if last.before else said


def numbers(days: Sequence[Day], events: Sequence["Event"], facts: Mapping[str, str]) -> list[tuple[str, str]]:
    """(value, what it counts), the given facts last."""
    decided = Counter(day.decision for day in days if day.decision)
    done = Counter(event.action for event in events)
    counted = [
        (f"{sum(day.requests for day in days):,}", "requests answered"),
        (f"{sum(day.failed for day in days):,}", "requests failed"),
        (f"{len(days):,}", "day" if len(days) == 1 else "days"),
        *((str(decided[name]), f"× {name}") for name in ("ignore", "retrain", "roll back") if decided[name]),
        (str(done["promote"]), "promoted"),
        (str(done["keep out"]), "kept out"),
    ]
    return [*counted, *((value, name) for name, value in facts.items())]


def summary(days: Sequence[Day]) -> str:
    if not days:
        return "Nothing has been answered or decided yet."
    total, failed = sum(day.requests for day in days), sum(day.failed for day in days)
    first, last = long_day(days[0].day), long_day(days[-1].day)
    span = f"from {first} to {last}" if len(days) > 1 else f"on {first}"
    return f"{plural(total, 'request')} {span}, {failed:,} failed."


def entries(events: Sequence["Event"], days: Sequence[Day]) -> list[Entry]:
    return [
        Entry(
            at=moment(event.at),
            day=str(day_of(event, days) or ""),
            action=DONE.get(event.action, event.action),
            version=event.version,
            before=event.before or "",
            actor=event.actor,
            reason=sentence(event.reason),
            evidence=json.dumps(event.evidence, indent=2) if event.evidence else "",
            finished=event.finished,
        )
        for event in events
    ]


def marks(events: Sequence["Event"], days: Sequence[Day]) -> list[Mark]:
    found = [(event, day_of(event, days)) for event in events if event.action in MARKS]
    return [
        Mark(day, f"{event.version} {MARKS[event.action][0]}", MARKS[event.action][1]) for event, day in found if day
    ]


def day_of(event: "Event", days: Sequence[Day]) -> date | None:
    """The day of the traffic that the event changed: the first that was still being served after it."""
    return next((day.day for day in days if day.last_at is not None and day.last_at >= event.at), None)


def _called(version: str, names: Mapping[str, str]) -> str:
    return f"Version {version} ({names[version]})" if names.get(version) else f"Version {version}"
