"""Judges what the load saw: requests without an answer, answers by a version that should not answer. Knows no cluster.

Times are seconds since 1970 by the load's own clock.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Phase:
    """What was done, when, and which versions may answer meanwhile. `must`: those that have to be seen.

    `breaks`: a server is killed, which breaks what it is answering; then a request may be sent again.
    """

    name: str
    began: float
    ended: float
    may: frozenset[str]
    must: frozenset[str] = frozenset()
    breaks: bool = False

    def covers(self, second: int) -> bool:
        return self.began < second + 1 and second <= self.ended


@dataclass(frozen=True)
class Second:
    """The requests that began in it."""

    at: int
    ok: dict[str, int]
    again: list[str]
    lost: list[str]


def read(lines: Iterable[str]) -> list[Second]:
    return [Second(**json.loads(line)) for line in lines if line.startswith("{")]


def faults(phases: Sequence[Phase], seconds: Sequence[Second]) -> list[str]:
    """Everything that is wrong, in words. None: no request was lost and no wrong version answered."""
    found = []
    for second in seconds:
        here = [phase for phase in phases if phase.covers(second.at)]
        found += [f"{_where(here, second)}: {fault}" for fault in _of_second(here, second)]
    for phase in phases:
        seen = _versions(phase, seconds)
        if not seen:
            found.append(f"{phase.name}: nobody asked, so nothing is known")
        found += [f"{phase.name}: version {version} never answered" for version in sorted(phase.must - set(seen))]
    return found + _gaps(seconds)


def table(phases: Sequence[Phase], seconds: Sequence[Second]) -> str:
    lines = [f"{'phase':28} {'seconds':>7} {'repeated':>8} {'lost':>5}  answered by"]
    for phase in phases:
        here = [second for second in seconds if phase.covers(second.at)]
        again, lost = sum(len(second.again) for second in here), sum(len(second.lost) for second in here)
        by = ", ".join(f"{n} by version {version}" for version, n in sorted(_versions(phase, seconds).items()))
        lines.append(f"{phase.name:28} {phase.ended - phase.began:7.1f} {again:8} {lost:5}  {by}")
    return "\n".join(lines)


def _of_second(here: Sequence[Phase], second: Second) -> Iterable[str]:
    yield from (f"a request was lost: {why}" for why in second.lost)
    if not any(phase.breaks for phase in here):
        yield from (f"a request had to be repeated: {why}" for why in second.again)
    may = frozenset[str]().union(*(phase.may for phase in here))
    if here:
        wrong = {version: n for version, n in second.ok.items() if version not in may}
        yield from (f"version {version} answered {n} requests" for version, n in wrong.items())


def _gaps(seconds: Sequence[Second]) -> Iterable[str]:
    """Seconds in which no request began: then the load was not steady, and a fault may have been missed."""
    times = [second.at for second in seconds]
    return [f"no request began between {a} and {b}" for a, b in pairwise(times) if b - a > 2]


def _versions(phase: Phase, seconds: Sequence[Second]) -> Counter[str]:
    found: Counter[str] = Counter()
    for second in seconds:
        if phase.covers(second.at):
            found.update(second.ok)
    return found


def _where(here: Sequence[Phase], second: Second) -> str:
    return f"{' / '.join(phase.name for phase in here) or 'between phases'}, at {second.at}"
