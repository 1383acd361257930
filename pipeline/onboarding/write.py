"""A plan to files: problem.yaml, data.py, features.py and a test, all there or nothing.

The templates beside this module hold the wording; only what they cannot compute is made here.
"""

import json
import math
import shutil
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.config import read_yaml
from core.days import ARRIVED_AT
from core.schema import ProblemSpec
from core.tables import EPOCHS, ISO, NATIVE
from pipeline.onboarding.arrange import SEED
from pipeline.onboarding.kinds import Column
from pipeline.onboarding.plan import Plan
from pipeline.onboarding.roles import MADE_ID

WIDTH = 120
MARGIN = 0.5  # of the observed span, on either side
UNCLEANED = "Rows are not cleaned here, and no feature is derived here (features.py)."
OTHERS = ["tree: {max_depth: 4}", "knn: {n_neighbors: 25}", "svm: {C: 1.0}", "transformer: {width: 16, epochs: 5}"]


@contextmanager
def written(plan: Plan, root: Path) -> Iterator[Path]:
    """root/NAME, written. When what is done with it raises, it is as before: absent, or what stood there."""
    folder = root / plan.name
    with tempfile.TemporaryDirectory(dir=root, prefix=".onboarding-") as made:
        draft, before = Path(made) / "new", Path(made) / "old"
        for name, text in files(plan).items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(text, encoding="utf-8")
        read_yaml(draft / "problem.yaml", ProblemSpec)
        if folder.exists():
            folder.rename(before)
        draft.rename(folder)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder)
            if before.exists():
                before.rename(folder)
            raise


def files(plan: Plan) -> dict[str, str]:
    """Path below the problem's folder -> content."""
    title = f'"""{_question(plan)}"""\n' if len(_question(plan)) < WIDTH - 6 else f'"""{plan.name}."""\n'
    about = {"plan": plan, "rhythm": plan.rhythm, "time": _time(plan)}
    return {
        "__init__.py": title.replace("\\", " "),
        "problem.yaml": _render("problem.yaml.j2", about | _of_yaml(plan)),
        "data.py": _render("data.py.j2", about | _of_data(plan)),
        "features.py": _render("features.py.j2", about | _of_features(plan)),
        f"tests/test_{plan.name}.py": _render("test.py.j2", about),
    }


def _render(template: str, content: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"y": _yaml, "py": _python, "wrap": lambda text: textwrap.fill(text, WIDTH - 3)}
    return environment.get_template(template).render(content)


def _yaml(value: Any) -> str:
    """A value in flow style, on one line."""
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False)
    return text.strip()[1:-1]


def _python(value: str | list[str]) -> str:
    """A literal as the formatter writes it."""
    if isinstance(value, list):
        return f"[{', '.join(_python(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False) if "'" in value or '"' not in value else repr(value)


# problem.yaml ---------------------------------------------------------------------------------------------------------


def _of_yaml(plan: Plan) -> dict[str, Any]:
    regression = plan.target.task == "regression"
    return {
        "question": _question(plan),
        "columns": [*_made_columns(plan), *(_column(plan, column) for column in plan.requested.values())],
        "latest": plan.rhythm.latest(plan.today),
        "metric": "mae" if regression else "log_loss",
        "shift": max(0.1, plan.rhythm.calibration_judged),
        "floor": _floor(plan),
        "unit_note": ", in standard deviations of the target" if regression else "",
        "others": OTHERS,
    }


def _question(plan: Plan) -> str:
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
    if _time(plan) == ARRIVED_AT:
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
    return f"{_yaml(name)}: {_yaml(said)}{remark}"


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
        time = "The time of the event." if column.name == _time(plan) else "A moment."
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


# data.py and features.py ----------------------------------------------------------------------------------------------


def _time(plan: Plan) -> str:
    return ARRIVED_AT if plan.arrangement.batch or plan.arrangement.time is None else plan.arrangement.time


def _of_data(plan: Plan) -> dict[str, Any]:
    forms = {n: c.form.form for n, c in plan.requested.items() if c.form is not None}
    made = [n for n, is_made in ((MADE_ID, plan.id == MADE_ID), (ARRIVED_AT, _time(plan) == ARRIVED_AT)) if is_made]
    return {
        "about": f"Where the rows come from: {plan.source.shown}, one row an event.",
        "story": _story(plan),
        "csv": _assigned("CSV: dict[str, Any]", plan.source.csv, "what pandas.read_csv must be told"),
        "forms": _assigned("FORMS", forms, "how moments are written: core.tables.moments")
        or "FORMS: dict[str, str] = {}  # of moments: core.tables.moments",
        "made": f"({', '.join(map(_python, made))}{',' if len(made) == 1 else ''})" if made else "",
        "made_id": plan.id == MADE_ID,
        "by_query": _by_query(plan),
        "order": _order(plan),
        "source": _text_assigned("SOURCE", plan.source.written or ""),
        "target": _text_assigned("TARGET", plan.target.source, "its name in the source"),
        "time_source": plan.columns[plan.arrangement.time].source if plan.arrangement.time else "",
        "seed": SEED,
    }


def _story(plan: Plan) -> str:
    given = plan.arrangement
    if given.batch is None:
        return (
            f"Partition D holds the events of day D by `{given.time}` (UTC) and the outcomes that became known on it: "
            f"those of LABEL_DELAY_DAYS before. {UNCLEANED}"
        )
    how = {
        "time": f"The days of `{given.time}` hold few rows, so the rows are put into batches in its order",
        "arrival": "The table has no time of its own: its rows are put into batches as they lie",
        "shuffled": f"The table has no time and is sorted by {plan.target.source}: its rows are shuffled, with a fixed "
        "seed, and put into batches",
        "groups": f"The table has no time of its own: batches are made of whole groups of `{given.groups}`",
    }[given.order]
    return f"{how}, and batch i is called the day FIRST_DAY + i. A batch counts once it is full. {UNCLEANED}"


def _by_query(plan: Plan) -> bool:
    """A day can be asked of SQL when its time column compares as it is."""
    given = plan.arrangement
    if plan.source.table is None or given.batch is not None or given.time is None:
        return False
    form = plan.columns[given.time].form
    return form is not None and form.form in (NATIVE, ISO, *EPOCHS)


def _order(plan: Plan) -> str:
    """Source columns that put SQL rows into an order of their own; without an id, all of them."""
    if plan.source.table is None or plan.id == MADE_ID:
        return ""
    names = [plan.columns[n].source for n in (plan.arrangement.time, plan.id) if n is not None]
    return _text_assigned("ORDER", names)


def _text_assigned(left: str, value: str | list[str], remark: str = "") -> str:
    """`LEFT = "..."  # remark`, in brackets and pieces where one line is too short."""
    line = f"{left} = {_python(value)}" + (f"  # {remark}" if remark else "")
    if len(line) <= WIDTH:
        return line
    pieces = value if isinstance(value, list) else textwrap.wrap(value, 100, drop_whitespace=False)
    lines = [f"    {_python(piece)}{',' if isinstance(value, list) else ''}" for piece in pieces]
    opening, closing = "[]" if isinstance(value, list) else "()"
    return "\n".join([f"{left} = {opening}", *lines, closing])


def _assigned(left: str, values: Mapping[str, Any], remark: str) -> str:
    """`LEFT = {...}  # remark`, over several lines where one is too short."""
    if not values:
        return ""
    pairs = [f"{_python(key)}: {_literal(value)}" for key, value in values.items()]
    line = f"{left} = {{{', '.join(pairs)}}}  # {remark}"
    return line if len(line) <= WIDTH else "\n".join([f"{left} = {{  # {remark}", *(f"    {p}," for p in pairs), "}"])


def _literal(value: Any) -> str:
    return _python(value) if isinstance(value, str | list) else repr(value)


def _of_features(plan: Plan) -> dict[str, Any]:
    lines, parts = [], set()
    for name, role in plan.roles.items():
        for feature in role.features:
            if feature != name:
                part = feature.removeprefix(f"{name}_")
                parts.add(part)
                event = f", columns[{_python(_event(plan))}]" if part == "days_before" else ""
                lines.append(f"{_python(feature)}: {part}(columns[{_python(name)}]{event})")
    return {"derived": lines, "parts": parts}


def _event(plan: Plan) -> str:
    """The column of the event's time, also where days are batches."""
    return plan.arrangement.time or ARRIVED_AT
