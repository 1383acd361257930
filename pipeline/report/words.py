"""How the report words numbers, names and days, and what it calls things for each kind of target. Formatting only."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import floor, log10

from core.schema import ProblemSpec
from core.task import primary_loss

NONE = "–"
METRIC_NAMES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "macro_f1": "macro F1",
    "top_2_accuracy": "top-2 accuracy",
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "r2": "R²",
    "pinball": "pinball loss",
    "observed_minus_expected": "O−E",
}
IN_UNITS = ("mae", "rmse", "pinball")  # of the target
DIGITS = 3


@dataclass(frozen=True)
class Terms:
    """What the numbers of a problem are called."""

    daily: str  # what is observed and expected of a day
    daily_note: str
    off: str  # O−E in words
    off_unit: str  # after a number
    loss: str  # the loss that is watched live
    clusters: str  # that intervals of candidates are made of


def terms(spec: ProblemSpec) -> Terms:
    target, unit = f"“{spec.target}”", f", {spec.target_unit}" if spec.target_unit else ""
    note, clusters = "dots: observed; line: predicted", "days" if spec.cluster is None else f"values of {spec.cluster}"
    loss = metric_name(primary_loss(spec), spec)
    if spec.task == "multiclass":
        off = "share of right answers less mean confidence"
        return Terms("Right answers", "dots: share that was right; line: mean confidence", off, "", loss, clusters)
    if spec.task == "binary":
        what = f"{target} = {spec.classes[1]}" if spec.classes else target
        return Terms(f"Rate of {what}", note, "observed less predicted rate", "", loss, clusters)
    if spec.gate.quantile is not None:
        off = f"share of outcomes up to the prediction less {spec.gate.quantile:g}"
        return Terms(f"Mean of {target}{unit}", note, off, "", loss, clusters)
    off = f"observed less predicted {target}, in its standard deviations"
    return Terms(f"Mean of {target}{unit}", note, off, " sd", loss, clusters)


def number(value: float | None, digits: int | None = DIGITS, sign: bool = False) -> str:
    """With so many decimals; None: three significant digits."""
    if value is None:
        return NONE
    digits = decimals(value) if digits is None else digits
    return f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "−")


def decimals(value: float) -> int:
    """Decimals that show three significant digits."""
    return min(8, max(0, DIGITS - 1 - floor(log10(abs(value))))) if value else DIGITS


def interval(value: float | None, low: float | None, high: float | None, digits: int | None = None) -> str:
    """`0.512 [0.448, 0.575]`; the value alone when there is no interval. The ends have the value's decimals."""
    digits = decimals(value) if value is not None and digits is None else digits
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def signed(value: float | None, low: float | None, high: float | None) -> str:
    """The same with signs and three decimals: for O−E."""
    if low is None or high is None:
        return number(value, sign=True)
    return f"{number(value, sign=True)} [{number(low, sign=True)}, {number(high, sign=True)}]"


def percent(share: float | None) -> str:
    if share is None:
        return NONE
    return f"{100 * share:.1f} %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def size(count: float | None) -> str:
    """Bytes, in the unit that reads best."""
    if count is None:
        return NONE
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def money(amount: float | None) -> str:
    """Two significant digits: what a prediction costs is little."""
    return NONE if amount is None else number(amount, max(2, decimals(amount) - 1))


def metric_name(name: str, spec: ProblemSpec | None = None) -> str:
    """With the target's unit, given the problem, where the metric has that unit."""
    said = METRIC_NAMES.get(name, name.replace("_", " "))
    return f"{said}, {spec.target_unit}" if spec and spec.target_unit and name in IN_UNITS else said


def short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def long_day(day: date | str) -> str:
    day = date.fromisoformat(day) if isinstance(day, str) else day
    return f"{day.day} {day:%B %Y}"


def moment(at: float) -> str:
    """Seconds since 1970 as a UTC time of day."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    """With a full stop. Its first letter stays: it may be the name of a candidate or a metric."""
    return text and f"{text.strip().rstrip('.')}."
