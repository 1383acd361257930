"""Problems without a folder, one of each task, for servers in this process."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from core.columns import Columns
from core.schema import ProblemSpec
from problems import Problem
from tests import toy

PIXELS = {"type": "array", "description": "Drawing.", "shape": [2, 3], "min": 0, "max": 255}
NAMES = ("schema", "copy", "json", "model_year", "model_dump", "größe", "class", "_hidden", "self", "rows")


@dataclass(frozen=True)
class Toy(Problem):
    """Its prediction time is the event's; an array's mean is a statistic."""

    @property
    def features(self) -> Any:
        return SimpleNamespace(features=self._derive)

    def _derive(self, columns: Columns) -> Columns:
        arrays = {name: columns[name] for name, column in self.spec.columns.items() if column.type == "array"}
        return columns | {"prediction_time": columns["at"]} | {f"{n}_mean": a.mean(axis=1) for n, a in arrays.items()}


def binary() -> Toy:
    """Its classes have names."""
    return _toy("binary", classes=["on time", "late"])


def image(**pixels: Any) -> Toy:
    """Three classes, a 2 x 3 image, and a time that is optional."""
    columns = {"pixels": PIXELS | pixels, "at": toy.COLUMNS["at"] | {"optional": True}}
    features = {"pixels": {"kind": "array", "size": 6}, "size": {"kind": "number"}, "kind": {"kind": "category"}}
    return _toy("multiclass", columns, features=features, monitor={"statistics": ["pixels_mean"]})


def regression() -> Toy:
    """With columns whose names other things have, too."""
    text = {"type": "category", "description": "odd", "example": "x"}
    return _toy("regression", dict.fromkeys(NAMES, text) | {"größe": text | {"optional": True}})


def cube() -> Toy:
    """An array of three sizes, which is no image."""
    return image(shape=[1, 2, 3])


def _toy(task: str, columns: Mapping[str, Any] | None = None, **change: Any) -> Toy:
    unbounded = {"size": toy.COLUMNS["size"] | {"max": None}}
    plain = toy.spec(task=task, **unbounded, **(columns or {})).model_dump()
    return Toy(ProblemSpec.model_validate(plain | change))
