"""What is to be predicted: kind of task, classes, metric; and the targets that cannot be learnt from this table."""

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from core.errors import DataError
from core.schema import TaskName
from core.tables import numbers, texts
from pipeline.onboarding.moments import form_of

MIN_ROWS, MIN_CLASS_ROWS, MAX_CLASSES = 200, 10, 50
MOST_CODES = 10  # more different whole numbers than this are counts or amounts, not classes
POSITIVE = {"1", "true", "yes", "y", "t", "positive", "pos", "on", "ja", "si", "sí", "oui", "sim", "да", "はい", "是"}
OUTLIER_IQR = 3.0  # Tukey's far out: so many interquartile ranges beyond the quartiles


@dataclass(frozen=True)
class Target:
    """`y` as core.task encodes it, shape (n,), NaN where no outcome is known."""

    source: str
    task: TaskName
    classes: list[str]  # as in problem.yaml
    y: np.ndarray
    notes: list[str] = field(default_factory=list)

    @property
    def known(self) -> np.ndarray:
        known: np.ndarray = self.y[~np.isnan(self.y)]
        return known

    @property
    def names(self) -> list[str]:
        """Names of the classes, also where problem.yaml has none."""
        return self.classes or ([] if self.task == "regression" else ["0", "1"])

    @property
    def spread(self) -> float:
        """Standard deviation of a residual without any skill, in the unit of the limits: shares, or deviations of y."""
        if self.task == "regression":
            return 1.0
        return float(np.sqrt(np.mean(self.known) * (1 - np.mean(self.known)))) if self.task == "binary" else 0.5

    @property
    def lean(self) -> float:
        """Of a number: how far its median, at which mae aims, lies from its mean, in standard deviations."""
        if self.task != "regression":
            return 0.0
        return float(abs(np.mean(self.known) - np.median(self.known)) / (np.std(self.known) or 1.0))


def look(values: pd.Series, source: str, decimal: str, asked: TaskName | None = None) -> Target:
    """Infer the task, unless it is asked for. Raises DataError for a target that cannot be learnt."""
    written = texts(values)
    known = written.dropna()
    if len(known) < MIN_ROWS:
        raise DataError(
            f"only {len(known)} rows have an outcome in {source!r}; {MIN_ROWS} are needed to train and to judge a model"
        )
    if len(known) < 0.5 * len(values):
        share = 1 - len(known) / len(values)
        raise DataError(f"{share:.0%} of {source!r} is missing; is it the target? If so, keep the rows that have one")
    if form_of(values, "") is not None:
        raise DataError(f"{source!r} holds moments; predict a number instead, such as the days until then")
    counts = known.value_counts()
    if len(counts) == 1:
        raise DataError(f"{source!r} is {counts.index[0]!r} in every row: there is nothing to tell apart")
    amounts = numbers(values, decimal)
    numeric = not set(counts.index) <= {"True", "False"} and bool((amounts.notna() == written.notna()).all())
    task = asked or _task(counts, amounts if numeric else None)
    _check_task(task, source, counts, numeric, asked is not None)
    if task == "regression":
        return Target(source, task, [], amounts.to_numpy(np.float64), _outliers(amounts.dropna().to_numpy(np.float64)))
    classes, notes = _classes(task, counts, numeric)
    by_name = {name: float(code) for code, name in enumerate(classes)}
    y = written.map(by_name).to_numpy(np.float64)
    if task == "binary" and numeric and {float(name) for name in classes} == {0.0, 1.0}:
        classes = []
    return Target(source, task, classes, y, notes)


def _task(counts: pd.Series, amounts: pd.Series | None) -> TaskName:
    if len(counts) == 2:
        return "binary"
    if amounts is None or _are_codes(amounts.dropna(), len(counts)):
        return "multiclass"
    return "regression"


def _are_codes(amounts: pd.Series, distinct: int) -> bool:
    """A few small whole numbers, each in many rows."""
    whole, near = bool((amounts % 1 == 0).all()), amounts.max() - amounts.min() <= 2 * MOST_CODES
    return whole and bool(near) and distinct <= MOST_CODES and len(amounts) >= 20 * distinct


def _check_task(task: TaskName, source: str, counts: pd.Series, numeric: bool, asked: bool) -> None:
    if task == "regression" and not numeric:
        raise DataError(f"{source!r} is not a number in every row (such as {counts.index[0]!r}), so no regression")
    if (task == "binary" and len(counts) != 2) or (task == "multiclass" and len(counts) < 3):
        raise DataError(f"{source!r} has {len(counts)} different values, so it is no {task} target; leave --task out")
    if task == "regression":
        return
    if len(counts) > MAX_CLASSES:
        hint = "use --task regression if it is an amount" if numeric else "group the rare ones"
        raise DataError(f"{source!r} has {len(counts)} classes, at most {MAX_CLASSES} can be judged; {hint}")
    rare = counts[counts < MIN_CLASS_ROWS]
    if len(rare):
        named = ", ".join(f"{name!r} ({count})" for name, count in rare.head(8).items())
        hint = ", or use --task regression" if numeric and not asked else ""
        raise DataError(
            f"classes of {source!r} with fewer than {MIN_CLASS_ROWS} rows can be neither learnt nor judged: {named}; "
            f"merge them with others, or leave their rows out{hint}"
        )


def _classes(task: TaskName, counts: pd.Series, numeric: bool) -> tuple[list[str], list[str]]:
    """In order, binary ones negative first; and what was assumed."""
    names = sorted(counts.index, key=float) if numeric else sorted(counts.index)
    if task == "multiclass":
        note = "small whole numbers are taken for classes; if they are amounts, use --task regression"
        return names, [note] if numeric else []
    told = [name for name in names if _bare(name) in POSITIVE]
    positive = told[0] if len(told) == 1 else str(counts.sort_index().idxmin())
    why = "it reads as a yes" if len(told) == 1 else "the rarer of the two"
    share = counts[positive] / counts.sum()
    negative = next(name for name in names if name != positive)
    return [negative, positive], [f"the positive class is {positive!r} ({share:.1%} of the rows): {why}"]


def _bare(name: str) -> str:
    return re.sub(r"\.0+$", "", name.strip().lower())


def _outliers(y: np.ndarray) -> list[str]:
    low, high = np.quantile(y, [0.25, 0.75])
    reach = OUTLIER_IQR * (high - low)
    share = float(((y < low - reach) | (y > high + reach)).mean())
    if share == 0:
        return ["the metric is mae; mse, rmse, r2 and pinball are there, too"]
    return [f"the metric is mae: {share:.1%} of the values are far out, and squared errors would be about them alone"]
