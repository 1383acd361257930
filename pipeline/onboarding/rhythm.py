"""How many rows a day has, and what follows: window, holdout, monitor, canary, and what a demo can play.

The rules of thumb are here, each with its reason; their results go into problem.yaml.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, floor, sqrt

import numpy as np

from core.days import Days
from pipeline.onboarding.target import Target

HOLDOUT_ROWS, WINDOW_ROWS = 200, 100  # fewer say little about a difference, or about a calibration
MOST_HOLDOUT, MOST_TRAINING_ROWS = 21, 300_000
PSI_ROWS = 25  # the PSI of n rows in ten bins is above 25 / n by chance in a few percent of the nights
DEMO_DAYS_AFTER_RETRAINING = 3  # its canary, its promotion and a day of the new champion


@dataclass(frozen=True)
class Rhythm:
    """Of a table's days. `usual`: rows of a median day that has rows. `share`: of the span's days that have rows."""

    first: date
    last: date
    usual: float
    share: float
    smallest: float  # the smallest day's rows, relative to the usual ones
    batches: bool
    spread: float  # Target.spread
    lean: float  # Target.lean

    @classmethod
    def of(cls, days: Days, batches: bool, target: Target) -> "Rhythm":
        found, counts = np.unique(days.days, return_counts=True)
        first, last = found[0].item(), found[-1].item()
        usual = float(np.median(counts))
        share = len(found) / ((last - first).days + 1)
        return cls(first, last, usual, share, float(counts.min() / usual), batches, target.spread, target.lean)

    @property
    def span(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def a_day(self) -> float:
        """Rows per day of the calendar."""
        return self.usual * self.share

    @property
    def holdout(self) -> int:
        """Days: 200 rows of them, five of which have rows; at most a quarter of the span."""
        wanted = min(max(ceil(HOLDOUT_ROWS / self.a_day), 7), MOST_HOLDOUT)
        return max(5, min(wanted, self.span // 5))

    @property
    def cooldown(self) -> int:
        return self.holdout + 1  # after as many days as the holdout has, a challenger has only the champion's rows

    @property
    def demo_days(self) -> int:
        return self.holdout + DEMO_DAYS_AFTER_RETRAINING

    @property
    def demo_first(self) -> date:
        return self.last - timedelta(days=self.demo_days - 1)

    @property
    def min_train(self) -> int:
        """Days before the demo's first holdout, or four weeks."""
        return max(5, min(28, self._before_demo - self.holdout))

    @property
    def can_retrain(self) -> bool:
        return self._before_demo >= self.holdout + self.min_train

    @property
    def window(self) -> int:
        """A year, or what can be trained in minutes."""
        return min(365, max(8 * self.holdout, 60, round(MOST_TRAINING_ROWS / self.a_day)))

    @property
    def train_rows(self) -> int:
        """Of the demo's first training."""
        return round(self.a_day * min(self._before_demo - self.holdout, self.window))

    @property
    def min_days(self) -> int:
        """Of the holdout, with rows."""
        return self._most_of(min(5, self.holdout))

    @property
    def watched(self) -> int:
        """Days of the monitor's window."""
        return max(min(7, self.holdout), min(ceil(WINDOW_ROWS / self.a_day), self.holdout))

    @property
    def watched_rows(self) -> float:
        return self.watched * self.a_day

    @property
    def watched_min_days(self) -> int | None:
        """Of the window, with labels; None: all of them, for a table that has rows on every day."""
        return None if self.share == 1 else self._most_of(self.watched)

    @property
    def watched_min_rows(self) -> int:
        return max(10, min(500, floor(0.5 * self.watched_rows)))

    @property
    def calibration_watched(self) -> float:
        """Three standard errors of the window's mean residual, or 0.05; and what a median is off anyway."""
        return round(_up(self.lean) + max(0.05, _up(3 * self.spread / sqrt(self.watched_rows))), 2)

    @property
    def calibration_judged(self) -> float:
        return round(_up(self.lean) + max(0.05, _up(2.5 * self.spread / sqrt(self.holdout * self.a_day))), 2)

    @property
    def psi(self) -> float:
        return max(0.2, _up(PSI_ROWS / self.watched_rows))

    @property
    def smallest_share(self) -> float:
        """Of a usual day's rows: a fifth below the smallest day that was seen."""
        return min(0.25, floor(80 * self.smallest) / 100)

    @property
    def canary_percent(self) -> int:
        """Enough for a hundred rows a day."""
        return min(50, max(10, round(100 * 100 / self.usual)))

    @property
    def canary_requests(self) -> int:
        """A quarter of what a day should bring, so that one day is enough."""
        return min(50, max(1, floor(self.usual * self.canary_percent / 400)))

    def latest(self, today: date) -> date | None:
        """The day after the last, when the table stopped growing."""
        grows = not self.batches and self.last >= today - timedelta(days=2)
        return None if grows else self.last + timedelta(days=1)

    @property
    def _before_demo(self) -> int:
        return (self.demo_first - self.first).days

    def _most_of(self, days: int) -> int:
        return days if self.share == 1 else max(2, floor(0.8 * self.share * days))


def _up(value: float) -> float:
    """To two digits, upwards, so that the number reads well."""
    return ceil(value * 100) / 100
