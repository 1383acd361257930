"""Drawing primitives: elements of inline SVG, scales, ticks. Knows no data; colours are the style sheet's classes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Values = Sequence[float | None]


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An SVG element; text and attributes are escaped. `class_` is class, `text_anchor` is text-anchor."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _brief(value)) for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, Markup("").join(children))


@dataclass(frozen=True)
class Scale:
    """Numbers low..high to pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers within low..high."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def segments(values: Values) -> Iterator[list[int]]:
    """Runs of positions that have a value."""
    run: list[int] = []
    for i, value in enumerate(values):
        if value is not None:
            run.append(i)
        elif run:
            yield run
            run = []
    if run:
        yield run


def points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_brief(x)},{_brief(y)}" for x, y in pairs)


def whisker(value: float, low: float | None, high: float | None, span: tuple[float, float]) -> Markup:
    """A dot with its interval on the scale `span`, as a small picture of its own."""
    x = Scale(*span, 4, 116) if span[1] > span[0] else Scale(span[0] - 1, span[0] + 1, 4, 116)
    line = Markup("")
    if low is not None and high is not None:
        line = element("line", x1=x(low), x2=x(high), y1=7, y2=7, class_="whisker")
    dot = element("circle", cx=x(value), cy=7, r=3.5, class_="dot")
    return element("svg", line, dot, viewBox="0 0 120 14", class_="mini", aria_hidden="true")


def _brief(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
