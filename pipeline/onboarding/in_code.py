"""What the templates of data.py and features.py cannot compute themselves: assignments as the formatter writes them."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from core.days import ARRIVED_AT
from core.tables import EPOCHS, ISO, NATIVE
from pipeline.onboarding.arrange import SEED
from pipeline.onboarding.plan import Plan
from pipeline.onboarding.roles import MADE_ID

WIDTH = 120
UNCLEANED = "Rows are not cleaned here, and no feature is derived here (features.py)."


def of_data(plan: Plan) -> dict[str, Any]:
    """What data.py.j2 is filled with."""
    forms = {n: c.form.form for n, c in plan.requested.items() if c.form is not None}
    made = [n for n, is_made in ((MADE_ID, plan.id == MADE_ID), (ARRIVED_AT, plan.time == ARRIVED_AT)) if is_made]
    return {
        "about": f"Where the rows come from: {plan.source.shown}, one row an event.",
        "story": _story(plan),
        "csv": _assigned("CSV: dict[str, Any]", plan.source.csv, "what pandas.read_csv must be told"),
        "forms": _assigned("FORMS", forms, "how moments are written: core.tables.moments")
        or "FORMS: dict[str, str] = {}  # of moments: core.tables.moments",
        "made": f"({', '.join(map(literal, made))}{',' if len(made) == 1 else ''})" if made else "",
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
    line = f"{left} = {literal(value)}" + (f"  # {remark}" if remark else "")
    if len(line) <= WIDTH:
        return line
    pieces = value if isinstance(value, list) else textwrap.wrap(value, 100, drop_whitespace=False)
    lines = [f"    {literal(piece)}{',' if isinstance(value, list) else ''}" for piece in pieces]
    opening, closing = "[]" if isinstance(value, list) else "()"
    return "\n".join([f"{left} = {opening}", *lines, closing])


def _assigned(left: str, values: Mapping[str, Any], remark: str) -> str:
    """`LEFT = {...}  # remark`, over several lines where one is too short."""
    if not values:
        return ""
    pairs = [f"{literal(key)}: {_value(value)}" for key, value in values.items()]
    line = f"{left} = {{{', '.join(pairs)}}}  # {remark}"
    return line if len(line) <= WIDTH else "\n".join([f"{left} = {{  # {remark}", *(f"    {p}," for p in pairs), "}"])


def _value(value: Any) -> str:
    return literal(value) if isinstance(value, str | list) else repr(value)


def of_features(plan: Plan) -> dict[str, Any]:
    """What features.py.j2 is filled with."""
    lines, parts = [], set()
    for name, role in plan.roles.items():
        for feature in role.features:
            if feature != name:
                part = feature.removeprefix(f"{name}_")
                parts.add(part)
                event = f", columns[{literal(_event(plan))}]" if part == "days_before" else ""
                lines.append(f"{literal(feature)}: {part}(columns[{literal(name)}]{event})")
    return {"derived": lines, "parts": parts}


def _event(plan: Plan) -> str:
    """The column of the event's time, also where days are batches."""
    return plan.arrangement.time or ARRIVED_AT


def literal(value: str | list[str]) -> str:
    """A literal as the formatter writes it."""
    if isinstance(value, list):
        return f"[{', '.join(literal(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False) if "'" in value or '"' not in value else repr(value)
