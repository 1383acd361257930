"""What a candidate can be asked for, and what it gets: reasons to refuse, the kind of inputs, fewer rows.

Numpy only. Each check raises ModelRefused with the reason in words.
"""

import numpy as np

from core.columns import Columns
from core.errors import ModelRefused
from core.schema import Feature, Kind, ProblemSpec, TaskName

CLASSES: tuple[TaskName, ...] = ("binary", "multiclass")


def for_tasks(spec: ProblemSpec, *tasks: TaskName) -> None:
    if spec.task not in tasks:
        raise ModelRefused(f"it is for {' and '.join(tasks)} problems; this one is {spec.task}")


def no_quantile(spec: ProblemSpec) -> None:
    if spec.gate.quantile is not None:
        raise ModelRefused(f"it predicts the middle; the problem asks for the {spec.gate.quantile:g} quantile")


def tabular(spec: ProblemSpec) -> None:
    if arrays := of_kind(spec, "array"):
        raise ModelRefused(f"it takes numbers and categories; {', '.join(arrays)} is an array")


def single_array(spec: ProblemSpec) -> str | None:
    """The name of the one array feature; None when all features are numbers and categories."""
    arrays = of_kind(spec, "array")
    if not arrays:
        return None
    if len(spec.features) > 1:
        others = len(spec.features) - len(arrays)
        raise ModelRefused(
            f"it takes numbers and categories, or one array alone; "
            f"the problem has {len(arrays)} array(s) ({', '.join(arrays)}) and {others} other feature(s)"
        )
    return arrays[0]


def image(spec: ProblemSpec) -> tuple[str, int, int]:
    """Name, height and width of the only feature, which must be an image."""
    name = single_array(spec)
    if name is None:
        raise ModelRefused("it takes one image; the problem's features are numbers and categories")
    size = spec.features[name].size
    arrays = {n: c.shape for n, c in spec.columns.items() if c.type == "array" and c.size == size}
    shape = arrays.get(name) or next(iter(arrays.values()), [])
    if len(shape) != 2:
        raise ModelRefused(
            f"it takes an image; no array column of shape [height, width] has the {size} numbers of {name}"
        )
    return name, shape[0], shape[1]


def enough(spec: ProblemSpec, X: Columns, y: np.ndarray, smallest: int = 1) -> None:
    """Two classes at least, each with `smallest` rows; no missing numbers in arrays."""
    for name in of_kind(spec, "array"):
        if not np.isfinite(X[name]).all():
            raise ModelRefused(f"array {name} has missing numbers, which no candidate takes")
    if spec.task == "regression":
        return
    present, counts = np.unique(y, return_counts=True)
    if len(present) < 2:
        raise ModelRefused("the training rows are all of one class")
    if counts.min() < smallest:
        code = int(present[counts.argmin()])
        rarest = spec.classes[code] if spec.classes else str(code)
        raise ModelRefused(f"class {rarest!r} has {counts.min()} training row(s); {smallest} are needed")


def thinned(X: Columns, y: np.ndarray, max_rows: int) -> tuple[Columns, np.ndarray]:
    """At most `max_rows` rows, evenly spaced, so that every time of the window is among them."""
    if len(y) <= max_rows:
        return X, y
    rows = np.linspace(0, len(y) - 1, max_rows).astype(np.int64)
    return {name: values[rows] for name, values in X.items()}, y[rows]


def of_kind(spec: ProblemSpec, kind: Kind) -> list[str]:
    features: dict[str, Feature] = spec.features
    return [name for name, feature in features.items() if feature.kind == kind]


def loss(spec: ProblemSpec) -> str:
    """What a regression should minimise: "quantile", "absolute_error" or "squared_error"."""
    if spec.gate.quantile is not None:
        return "quantile"
    return "absolute_error" if spec.gate.metric == "mae" else "squared_error"
