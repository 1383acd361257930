"""The strips on top of the timeline: decisions, challengers, champions and requests, one column a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from pipeline.report.svg import Scale, element
from pipeline.report.timeline import Day

COLOURS = 6  # classes v0..v5 of the style sheet
ROW, BARS = 26, 44  # heights in pixels
SYMBOLS = {"ignore": "•", "retrain": "▲", "roll back": "▼"}


@dataclass(frozen=True)
class Mark:
    """What became of a challenger on a day."""

    day: date
    text: str
    style: str


def draw(days: Sequence[Day], marks: Sequence[Mark], names: Mapping[str, str], x: Scale) -> tuple[list[Markup], float]:
    """The strips and their height. `names`: version -> candidate, in the order that fixes the versions' colours."""
    strips = [
        ("Decision", ROW, _decisions(days, x)),
        ("Challenger", ROW, _challengers(days, marks, x)),
        ("Champion", ROW, _champions(days, names, x)),
        ("Requests", BARS, _requests(days, names, x)),
    ]
    parts, y = [], 0.0
    for name, height, strip in strips:
        parts.append(element("text", name, x=0, y=y + height / 2 + 4, class_="label"))
        parts.append(element("g", strip, transform=f"translate(0 {y:g})"))
        y += height + 4
    return parts, y


def _decisions(days: Sequence[Day], x: Scale) -> Markup:
    return Markup("").join(
        element("text", SYMBOLS[d.decision], x=x(i), y=18, class_=f"symbol {d.decision.replace(' ', '-')}")
        for i, d in enumerate(days)
        if d.decision in SYMBOLS
    )


def _challengers(days: Sequence[Day], marks: Sequence[Mark], x: Scale) -> Markup:
    place = {day.day: i for i, day in enumerate(days)}
    texts: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.day in place:
            texts.setdefault(place[mark.day], []).append(mark)
    return Markup("").join(
        element("text", mark.text, x=x(i), y=18 - 12 * (len(found) - 1 - n), class_=f"mark {mark.style}")
        for i, found in texts.items()
        for n, mark in enumerate(found[-2:])
    )


def _champions(days: Sequence[Day], names: Mapping[str, str], x: Scale) -> Markup:
    parts, start = [], 0
    for i in range(1, len(days) + 1):
        if i < len(days) and days[i].champion == days[start].champion:
            continue
        champion = days[start].champion
        if champion is not None:
            wide = x(i - 0.5) - x(start - 0.5)
            box = {"x": x(start - 0.5) + 1, "width": wide - 2, "y": 1, "height": ROW - 2, "rx": 4}
            parts.append(element("rect", class_=f"period {_colour(champion, names)}", **box))
            parts.append(
                element("text", _fitting(champion, names, wide), x=x((start + i - 1) / 2), y=18, class_="inside")
            )
        start = i
    return Markup("").join(parts)


def _requests(days: Sequence[Day], names: Mapping[str, str], x: Scale) -> Markup:
    """Bars of the day's requests, stacked by version."""
    most = max((day.requests for day in days), default=0) or 1
    half, parts = (x(1) - x(0)) * 0.36, []
    for i, day in enumerate(days):
        bottom = float(BARS)
        for version, count in day.by_version.items():
            height = (BARS - 2) * count / most
            bottom -= height
            box = {"x": x(i) - half, "width": 2 * half, "y": bottom, "height": height}
            parts.append(element("rect", class_=f"bar {_colour(version, names)}", **box))
    return Markup("").join(parts)


def _colour(version: str, names: Mapping[str, str]) -> str:
    return f"v{list(names).index(version) % COLOURS}"


def _fitting(version: str, names: Mapping[str, str], wide: float) -> str:
    """The longest name of a version that fits into so many pixels, at 7 a letter."""
    full = f"version {version} · {names[version]}"
    return next((text for text in (full, f"{version} · {names[version]}") if 7 * len(text) < wide), version)
