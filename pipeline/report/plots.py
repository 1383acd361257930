"""The timeline as a picture: decisions, challengers and champions on top, panels with one shared day axis below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from markupsafe import Markup

from core.schema import ProblemSpec
from pipeline.report import strips
from pipeline.report.strips import Mark
from pipeline.report.svg import Scale, Values, element, points, segments, ticks
from pipeline.report.timeline import Day, answered_by
from pipeline.report.words import Terms, interval, long_day, number, percent, plural, short_day, signed, terms

GAP, TITLE = 16, 22  # heights in pixels


@dataclass(frozen=True)
class Series:
    values: Values
    style: str  # classes of the style sheet
    low: Values = ()
    high: Values = ()
    joined: bool = True


@dataclass(frozen=True)
class Panel:
    title: str
    note: str
    series: list[Series]
    limits: list[float] = field(default_factory=list)
    height: int = 96
    floor: float | None = None


def panels(days: Sequence[Day], spec: ProblemSpec) -> list[Panel]:
    def seen(name: str) -> Values:
        return [day.evidence.get(name) for day in days]

    window, limit, psi = spec.monitor.window_days, spec.monitor.calibration_max, spec.monitor.prediction_psi_max
    residual = Series(seen("residual_mean"), "line", seen("residual_low"), seen("residual_high"))
    loss = Series(seen("loss"), "line", seen("loss_low"), seen("loss_high"))
    daily = [Series([d.expected for d in days], "line soft"), Series([d.observed for d in days], "dots", joined=False)]
    shifts = [Series(seen("label_psi"), "line soft"), Series(seen("prediction_psi"), "line")]
    classes = "; grey: of the predicted classes" if any(v is not None for v in shifts[0].values) else ""
    before, said = f"{window} days before", terms(spec)
    floor = 0 if spec.task != "regression" else None
    made = [
        Panel(f"{said.daily}, day by day", said.daily_note, daily, floor=floor),
        Panel(f"O−E, {said.off}", f"{before}; beyond ±{limit:g}: retrain", [residual], [-limit, limit]),
        Panel(f"Live {said.loss}", f"{before}, with 95 % interval", [loss]),
        Panel("PSI of the prediction", f"{before}; from {psi:g}: retrain{classes}", shifts, [psi], 72, 0),
    ]
    return [panel for panel in made if any(v is not None for s in panel.series for v in s.values)]


def draw(days: Sequence[Day], spec: ProblemSpec, marks: Sequence[Mark], names: Mapping[str, str], width: int) -> Markup:
    """`names`: version -> candidate, in the order that fixes the versions' colours."""
    left = 84 if width > 600 else 74
    x = Scale(-0.5, len(days) - 0.5, left, width - 8)
    parts, y = strips.draw(days, marks, names, x)
    for panel in panels(days, spec):
        parts.append(element("g", _panel(panel, days, x, y + GAP), class_="panel"))
        y += GAP + TITLE + panel.height
    parts = [_stripes(days, x, y), *parts, _day_axis(days, x, y), _hover(days, terms(spec), x, y)]
    size = {"viewBox": f"0 0 {width} {y + 26:g}", "class_": "timeline", "role": "img"}
    return element("svg", *parts, aria_label="The timeline; the table below says the same in words", **size)


def _stripes(days: Sequence[Day], x: Scale, height: float) -> Markup:
    """A line through all panels on each day that ended in more than "ignore"."""
    loud = [i for i, day in enumerate(days) if day.decision in ("retrain", "roll back")]
    return Markup("").join(
        element("line", x1=x(i), x2=x(i), y1=strips.ROW - 4, y2=height, class_="stripe") for i in loud
    )


def _panel(panel: Panel, days: Sequence[Day], x: Scale, top: float) -> Markup:
    y = Scale(*_span(panel), top + TITLE + panel.height, top + TITLE)
    note = element("tspan", panel.note, dx=8, class_="note")
    parts = [element("text", panel.title, note, x=x.start, y=top + 13, class_="title")]
    for tick in ticks(y.low, y.high):
        parts.append(element("line", x1=x.start, x2=x.end, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", f"{tick:,.10g}".replace("-", "−"), x=x.start - 6, y=y(tick) + 4, class_="tick"))
    for limit in panel.limits:
        parts.append(element("line", x1=x.start, x2=x.end, y1=y(limit), y2=y(limit), class_="limit"))
    return Markup("").join([*parts, *(_series(series, panel, days, x, y) for series in panel.series)])


def _series(series: Series, panel: Panel, days: Sequence[Day], x: Scale, y: Scale) -> Markup:
    def at(value: float | None) -> float:
        return y(min(max(value or 0.0, y.low), y.high))

    parts = []
    for run in [part for found in segments(series.low) for part in _without_gaps(found, days)]:
        edge = [(x(i), at(series.high[i])) for i in run] + [(x(i), at(series.low[i])) for i in reversed(run)]
        parts.append(element("polygon", points=points(edge), class_="band"))
    for run in [part for found in segments(series.values) for part in _without_gaps(found, days)]:
        line = points([(x(i), at(series.values[i])) for i in run])
        parts += [element("polyline", points=line, class_=series.style)] * series.joined
    for i, value in enumerate(series.values):
        if value is not None:
            loud = any(abs(value) >= abs(limit) for limit in panel.limits)
            style = f"dot {series.style}{' loud' * loud}"
            parts.append(element("circle", cx=x(i), cy=at(value), r=4.5 if loud else 3, class_=style))
    return Markup("").join(parts)


def _span(panel: Panel) -> tuple[float, float]:
    """What the vertical axis shows: every value and limit, and intervals up to as far again."""
    values = [v for series in panel.series for v in series.values if v is not None] + panel.limits
    low, high = min(values), max(values)
    reach = (high - low) or abs(high) or 1.0
    ends = [v for series in panel.series for v in (*series.low, *series.high) if v is not None]
    low, high = max(min([low, *ends]), low - reach), min(max([high, *ends]), high + reach)
    return (low - 0.06 * reach if panel.floor is None else panel.floor), high + 0.06 * reach


def _without_gaps(run: list[int], days: Sequence[Day]) -> list[list[int]]:
    """Split where days are missing, so that no line bridges them."""
    parts: list[list[int]] = []
    for i in run:
        if parts and days[i].day - days[parts[-1][-1]].day == timedelta(days=1):
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts


def _day_axis(days: Sequence[Day], x: Scale, y: float) -> Markup:
    every = max(1, -(-46 * len(days) // int(x.end - x.start)))  # 46 pixels a label
    return Markup("").join(
        element("text", short_day(day.day), x=x(i), y=y + 18, class_="day")
        for i, day in enumerate(days)
        if i % every == 0
    )


def _hover(days: Sequence[Day], said: Terms, x: Scale, height: float) -> Markup:
    wide = x(1) - x(0)
    box = {"y": 0, "width": wide, "height": height, "class_": "hover"}
    return Markup("").join(
        element("rect", element("title", tooltip(d, said)), x=x(i) - wide / 2, **box) for i, d in enumerate(days)
    )


def tooltip(day: Day, said: Terms) -> str:
    e = day.evidence
    lines = [
        f"{long_day(day.day)}: {plural(day.requests, 'request')}, {day.failed} failed",
        f"answered by: {answered_by(day)}",
        f"decision: {day.decision or 'none'}",
        f"{said.loss} {interval(e.get('loss'), e.get('loss_low'), e.get('loss_high'))}",
        f"O−E {signed(e.get('residual_mean'), e.get('residual_low'), e.get('residual_high'))}{said.off_unit}",
        f"PSI of the prediction {number(e.get('prediction_psi'))}, drift share {percent(e.get('drift_share'))}",
    ]
    return "\n".join(lines)
