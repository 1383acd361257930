"""How the report words numbers, names and days. Formatting only."""

from datetime import UTC, date, datetime

NONE = "–"
METRIC_NAMES = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "observed_minus_expected": "O−E",
}


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    if value is None:
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def interval(value: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    """`0.512 [0.448, 0.575]`; the value alone when there is no interval."""
    if low is None or high is None:
        return number(value, sign=sign)
    return f"{number(value, sign=sign)} [{number(low, sign=sign)}, {number(high, sign=sign)}]"


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


def metric_name(name: str) -> str:
    return METRIC_NAMES.get(name, name.replace("_", " "))


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
