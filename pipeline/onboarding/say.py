"""What `loop init` prints: every column with its part, what was inferred, what to check, what to run next."""

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.onboarding import roles
from pipeline.onboarding.kinds import Column
from pipeline.onboarding.plan import Plan

SHOWN_COLUMNS = 60


def report(plan: Plan) -> RenderableType:
    """The whole page."""
    task = {"binary": "yes or no", "multiclass": f"{len(plan.target.classes)} classes", "regression": "a number"}
    head = (
        f"[bold]{escape(plan.source.shown)}[/bold]: {len(plan.source.frame):,} rows; "
        f"predict [bold]{escape(plan.target.source)}[/bold], {task[plan.target.task]} ({plan.target.task})"
    )
    return Group(head, "", _columns(plan), "", *_loud(plan), *_inferred(plan), "", *_to_check(plan), "", *_next(plan))


def _columns(plan: Plan) -> Table:
    table = Table(
        "column", "kind", "missing", "values", "used as", "note", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for name, role in list(plan.roles.items())[:SHOWN_COLUMNS]:
        column = plan.columns[name]
        style = {roles.LEFT_OUT: "dim", roles.FEATURE: ""}.get(role.use, "bold")
        missing = f"{column.missing:.1%}" if column.missing else ""
        shown = name if name == column.source else f"{column.source} → {name}"
        table.add_row(*map(escape, (shown, column.kind, missing, _values(column), role.use, role.note)), style=style)
    if len(plan.roles) > SHOWN_COLUMNS:
        table.add_row(f"… {len(plan.roles) - SHOWN_COLUMNS} more; problem.yaml has all", *[""] * 5, style="dim")
    return table


def _values(column: Column) -> str:
    there = column.values.dropna()
    if column.kind == "number":
        return f"{there.min():g} … {there.max():g}"
    if column.kind == "datetime":
        return f"{there.min():%Y-%m-%d} … {there.max():%Y-%m-%d}"
    if column.kind == "category" and column.distinct <= 4:
        return ", ".join(str(value)[:16] for value in sorted(there.unique()))
    return f"{column.distinct:,} different" if column.kind in ("category", "text") else ""


def _loud(plan: Plan) -> list[str]:
    """What was left out against expectation, with the reason."""
    lines = [f"[yellow]{escape(f'{name}: {role.warning}')}[/yellow]" for name, role in _warned(plan, roles.LEFT_OUT)]
    return [*lines, ""] if lines else []


def _inferred(plan: Plan) -> list[RenderableType]:
    rhythm = plan.rhythm
    days = "batches" if plan.arrangement.batch else "days"
    lines = [
        *plan.notes,
        f"{rhythm.span} {days} of {rhythm.usual:g} rows, {rhythm.first} to {rhythm.last}; the newest {rhythm.holdout} "
        f"judge a candidate, and a champion is retrained after {rhythm.holdout} at the latest",
        f"candidates: {', '.join(plan.candidates)}, with options for {rhythm.train_rows:,} rows of training",
    ]
    doubts = [
        f"{n} is read as {c.form.form}; {c.form.doubt}" for n, c in plan.requested.items() if c.form and c.form.doubt
    ]
    return ["[bold]Inferred[/bold]", *map(_item, [*lines, *doubts])]


def _to_check(plan: Plan) -> list[RenderableType]:
    """What no table can say."""
    units = sum(column.kind == "number" for column in plan.requested.values())
    checks = [
        f"units of {units} number columns: problem.yaml says null" if units else "",
        "ranges: min and max lie half of the observed span beyond the table's values",
        "LABEL_DELAY_DAYS in data.py is 0: how many days after an event is its outcome known?",
        *(f"{name}: {role.warning}" for name, role in _warned(plan, roles.FEATURE)),
        "every other feature: is it known at prediction time, and not filled in afterwards?",
        "" if plan.source.written else "the URL holds a password, so no file does: set LOOP_DATA_URL before each run",
        "" if plan.rhythm.can_retrain else "the table is too short for a retraining in the demo",
    ]
    return ["[bold]To check by hand[/bold]", *(_item(line) for line in checks if line)]


def _item(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2))


def _next(plan: Plan) -> list[str]:
    return [f"problems/{plan.name} is written. Next:", f"  [bold]loop use {plan.name} && make demo[/bold]"]


def _warned(plan: Plan, use: str) -> list[tuple[str, roles.Role]]:
    return [(name, role) for name, role in plan.roles.items() if role.warning and role.use == use]
