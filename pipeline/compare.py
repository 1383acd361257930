"""What two models said of the same traffic, and how much of the difference is more than chance. It judges nothing.

Rows are those of core.predictions.by_version. In shadow both models said something about each row, so the differences
are paired; a canary and its champion answered different rows, by entity, at random.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from core.schema import ProblemSpec
from core.task import of, primary_loss
from pipeline.metrics import Difference, cluster_difference

Row = Mapping[str, Any]
CHANCE = 0.001  # a finding that chance alone would give as seldom as this is the model's own


@dataclass(frozen=True)
class Sides:
    """The challenger's rows and the champion's; when `paired`, of equal length and in the same order."""

    mine: Sequence[Row]
    others: Sequence[Row]
    paired: bool = False

    @classmethod
    def answered(cls, mine: Sequence[Row], others: Sequence[Row], paired: bool) -> "Sides":
        """Without what failed; when paired, without what either failed on."""
        mine, others = ([row for row in rows if row["error"] is None] for rows in (mine, others))
        if not paired:
            return cls(mine, others)
        theirs = {_asked(row): row for row in others}
        both = [(row, theirs[_asked(row)]) for row in mine if _asked(row) in theirs]
        return cls([a for a, _ in both], [b for _, b in both], paired=True)

    def labelled(self) -> "Sides":
        """Those whose outcome is known by now."""
        mine, others = ([row for row in rows if row["outcome"] is not None] for rows in (self.mine, self.others))
        return Sides(mine, others, self.paired)


def late(mine: Sequence[Row], limit_ms: float) -> tuple[int, int, bool]:
    """Requests that took longer a row, of how many, and whether that is more than chance allows.

    One in a hundred of the champion's is slower than its 99th percentile, by definition.
    """
    times = latencies(mine)
    slow = int((times > limit_ms).sum())
    return slow, len(times), bool(stats.binom.sf(slow - 1, len(times), 0.01) < CHANCE)


def latencies(rows: Sequence[Row]) -> np.ndarray:
    """One value a request, in ms a row: the rows of a batch were timed together."""
    answered = {(row["model_version"], row["served_at"]): row["latency_ms"] for row in rows if row["error"] is None}
    return np.array(list(answered.values()), np.float64)


def scores(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row["score"] for row in rows if row["error"] is None], np.float64)


def shift(spec: ProblemSpec, sides: Sides) -> tuple[float, float]:
    """|mean prediction of mine - of the others|, and what chance alone exceeds as seldom as CHANCE says.

    Shares for classes; for numbers standard deviations of the champion's own answers in the same period, which needs
    nothing but what was answered. These vary less than the target does, so the limit is a little stricter than the
    gate's. 0 without champion traffic.
    """
    a, b = scores(sides.mine), scores(sides.others)
    if not len(a) or not len(b):
        return 0.0, 0.0
    unit = (float(b.std()) or 1.0) if spec.task == "regression" else 1.0
    error = (a - b).std() / np.sqrt(len(a)) if sides.paired else np.sqrt(a.var() / len(a) + b.var() / len(b))
    return abs(float(a.mean() - b.mean())) / unit, float(stats.norm.isf(CHANCE / 2) * error) / unit


def label_shift(sides: Sides) -> tuple[float, float]:
    """Share of the labels that would have to change for both to answer alike (total variation distance), and what
    chance alone exceeds as seldom as CHANCE says; 0 without labels on both sides.

    The distance of two samples of one distribution is nowhere near 0: its mean is bounded by the spread of each share,
    its excess over the mean by McDiarmid's inequality (1989).
    """
    a, b = _labels(sides.mine), _labels(sides.others)
    if not len(a) or not len(b):
        return 0.0, 0.0
    names = np.unique([*a, *b])
    of_a, of_b = ((found[:, None] == names).mean(axis=0) for found in (a, b))
    pooled = (len(a) * of_a + len(b) * of_b) / (len(a) + len(b))
    rows = 1 / len(a) + 1 / len(b)
    mean = float(np.sqrt(pooled * (1 - pooled) * rows).sum()) / 2
    return float(np.abs(of_a - of_b).sum()) / 2, mean + float(np.sqrt(np.log(1 / CHANCE) / 2 * rows))


def worse(spec: ProblemSpec, sides: Sides) -> tuple[Difference, float]:
    """How much larger the loss (core.task.primary_loss) of mine is on labelled rows, and the t statistic from which it
    is more than chance.

    By day where there are as many as the gate asks for, since rows of a day are not independent; by row otherwise.
    """
    a, b = loss(spec, sides.mine), loss(spec, sides.others)
    days, others_days = ([row["day"].isoformat() for row in rows] for rows in (sides.mine, sides.others))
    common = sorted(set(days) & set(others_days))
    if len(common) >= spec.gate.min_days:
        found = cluster_difference(_by(common, days, a), _by(common, others_days, b), np.array(common))
        return found, float(stats.t.isf(CHANCE, len(common) - 1))
    error = np.sqrt((a - b).var(ddof=1) / len(a)) if sides.paired else np.sqrt(_squared_error(a) + _squared_error(b))
    n = min(len(a), len(b))
    return Difference(float(a.mean() - b.mean()), float(error), n), float(stats.t.isf(CHANCE, n - 1))


def loss(spec: ProblemSpec, rows: Sequence[Row]) -> np.ndarray:
    """Of each labelled row."""
    y = np.array([row["outcome"] for row in rows], np.float64)
    name = "outputs" if spec.task == "multiclass" else "score"
    return of(spec).losses[primary_loss(spec)](y, np.array([row[name] for row in rows], np.float64))


def _by(wanted: Sequence[str], days: Sequence[str], values: np.ndarray) -> np.ndarray:
    """The mean of each wanted day."""
    code = np.array(days)
    return np.array([values[code == day].mean() for day in wanted])


def _squared_error(values: np.ndarray) -> float:
    """Of the mean."""
    return float(values.var(ddof=1)) / len(values)


def _labels(rows: Sequence[Row]) -> np.ndarray:
    return np.array([row["label"] for row in rows if row["label"] is not None], str)


def _asked(row: Row) -> tuple[str, float]:
    """One row of one request: a shadow's record has the champion's."""
    return row["event_id"], row["served_at"]
