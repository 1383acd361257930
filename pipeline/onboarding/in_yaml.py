"""What the template of problem.yaml cannot compute itself: columns as lines, ranges, floors, the question."""

import math
from typing import Any

import yaml

from core.days import ARRIVED_AT
from pipeline.onboarding.kinds import Column
from pipeline.onboarding.plan import Plan
from pipeline.onboarding.roles import MADE_ID

MARGIN = 0.5  # of the observed span, on either side
REGRESSION_SHIFT = 0.5  # standard deviations of the target: the newest days of a season move a number that far
OTHERS = ["tree: {max_depth: 4}", "knn: {n_neighbors: 25}", "svm: {C: 1.0}", "transformer: {width: 16, epochs: 5}"]


def content(plan: Plan) -> dict[str, Any]:
    """What problem.yaml.j2 is filled with, beside the plan itself."""
    regression = plan.target.task == "regression"
    return {
        "question": question(plan),
        "columns": [*_made_columns(plan), *(_column(plan, column) for column in plan.requested.values())],
        "latest": plan.rhythm.latest(plan.today),
        "metric": "mae" if regression else "log_loss",
        "shift": REGRESSION_SHIFT if regression else max(0.1, plan.rhythm.calibration_judged),
        "floor": _floor(plan),
        "unit_note": ", in standard deviations of the target" if regression else "",
        "others": OTHERS,
    }


def question(plan: Plan) -> str:
    name = plan.target.source
    if plan.target.task == "regression":
        return f"What will {name} be?"
    if plan.target.task == "binary":
        return f"Will {name} be {plan.target.names[1]}?"
    return f"Which {name} will it be?"


def _floor(plan: Plan) -> str:
    """A floor that no slice of a model that has learnt something falls below; none for a regression."""
    if not plan.slices or plan.target.task == "regression":
        return ""
    if plan.target.task == "binary":
        return "{metric: roc_auc, floor: 0.5, min_rows: 200}"
    shares = [float((plan.target.known == code).mean()) for code in range(len(plan.target.classes))]
    return f"{{metric: accuracy, floor: {max(shares) / 2:.2f}, min_rows: 200}}"


def _made_columns(plan: Plan) -> list[str]:
    """What data.py makes itself: an id, and a time for batches."""
    lines = []
    if plan.id == MADE_ID:
        says = "Made by data.py: day and number of the row."
        lines.append(_line(MADE_ID, {"type": "string", "description": says, "example": f"{plan.rhythm.first}-00000"}))
    if plan.time == ARRIVED_AT:
        says = "Moment of arrival; the server fills it in. data.py gives the batches of the table one."
        example = f"{plan.rhythm.first}T12:00:00Z"
        line = {"type": "datetime", "optional": True, "description": says, "example": example}
        lines.append(_line(ARRIVED_AT, line))
    return lines


def _column(plan: Plan, column: Column) -> str:
    said: dict[str, Any] = {"type": _type(plan, column), "description": _description(plan, column)}
    if said["type"] == "number":
        low, high = bounds(column)
        said |= {"unit": None, "min": low, "max": high, "example": _number(float(column.example))}
    elif said["type"] == "datetime":
        said["example"] = f"{column.example:%Y-%m-%dT%H:%M:%SZ}"
    else:
        said["example"] = _text(column)
    if column.missing > 0 and column.name != plan.arrangement.groups:
        said["optional"] = True
    if column.source != column.name:
        said["source"] = column.source
    return _line(column.name, said)


def _line(name: str, said: dict[str, Any]) -> str:
    remark = " # unit: fill in" if "unit" in said else ""
    return f"{flow(name)}: {flow(said)}{remark}"


def _type(plan: Plan, column: Column) -> str:
    if column.name == plan.id:
        return "string"
    return "string" if column.kind == "text" and column.name not in plan.features else _of_kind(column)


def _of_kind(column: Column) -> str:
    return column.kind if column.kind in ("number", "datetime") else "category"


def _description(plan: Plan, column: Column) -> str:
    if column.name == plan.id:
        return "Identifies a row."
    if column.kind == "number":
        there = column.values.dropna()
        return f"From {_number(there.min())} to {_number(there.max())} in the table."
    if column.kind == "datetime":
        time = "The time of the event." if column.name == plan.time else "A moment."
        return f"{time} UTC where the table names no zone."
    values = sorted(column.values.dropna().unique())
    listed = ", ".join(values)
    return f"One of {listed}." if len(listed) < 60 else f"One of {len(values):,}, such as {values[0][:40]}."


def bounds(column: Column) -> tuple[float, float]:
    """Half of the span beyond what was seen, in round numbers; what was never negative stays so."""
    low, high = float(column.values.min()), float(column.values.max())
    reach = MARGIN * ((high - low) or abs(high) or 1.0)
    floor = 0.0 if low >= 0 and low - reach < 0 else _round(low - reach, math.floor)
    ceiling = 0.0 if high <= 0 and high + reach > 0 else _round(high + reach, math.ceil)
    return _number(floor), _number(ceiling)


def _round(value: float, how: Any) -> float:
    """Outwards, to two digits."""
    if not value:
        return 0.0
    digits = 1 - math.floor(math.log10(abs(value)))
    return float(how(value * 10.0**digits) / 10.0**digits)


def _number(value: float) -> float:
    """Whole numbers as such, others with six digits."""
    return int(value) if float(value).is_integer() and abs(value) < 1e15 else float(f"{value:.6g}")


def _text(column: Column) -> str:
    """The example as a request would hold it."""
    value = column.example
    return str(_number(value)) if isinstance(value, float) else str(value)[:200]


def flow(value: Any) -> str:
    """A value in flow style, on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False)
    return text.strip()[1:-1]
