"""The stack on this machine: start it, see where the loop stands, stop it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.commands.console import out

if TYPE_CHECKING:
    from pipeline.stack.stack import Stack

LIFECYCLE, MONITOR, FIRST = "lifecycle", "monitor", "first"


def up() -> None:
    """Start Airflow, MLflow and the model server and leave them running; the first life cycle starts by itself."""
    from core.config import settings
    from pipeline.stack import signals
    from pipeline.stack.stack import Stack

    stack = Stack(settings(), progress=lambda name, seconds: out.print(f"  {name} is ready after {seconds:.0f} s"))
    if stack.is_running():
        out.print("The stack is already running.")
    else:
        out.print(f"Starting the stack in {stack.home} (half a minute or so) ...")
        with signals.unwind():
            stack.start()
    _switch_on(stack)
    _show(stack)


def down() -> None:
    """Stop what `loop up` started, and only that. Data, models and history stay."""
    from core.config import settings
    from pipeline.stack.stack import Stack

    stack = Stack(settings())
    was_running = stack.is_running()
    stack.stop()
    out.print("Stopped." if was_running else "Nothing was running.")


def status() -> None:
    """Processes, champion, canary, traffic and the monitor's last decision, on one screen."""
    from core.config import settings
    from pipeline.stack.stack import Stack

    stack = Stack(settings())
    if not stack.is_running():
        out.print(f"No stack is running in {stack.home}; `loop up` starts one.")
        return
    _show(stack)
    out.print()
    out.print(_loop_state(stack))


def doctor(
    containers: Annotated[bool, typer.Option(help="Look at what `docker compose up` needs.")] = False,
    quiet: Annotated[bool, typer.Option(help="Say only what is wrong.")] = False,
) -> None:
    """What would stand in the way of starting: ports, memory, disk, the Docker engine. Then the exit code is 1."""
    from core.config import settings
    from pipeline import doctor

    found = list(doctor.containers(settings()) if containers else doctor.laptop(settings()))
    for check in found:
        if check.advice:
            out.print(f"[red]{check.what}: {check.found}; {check.advice}[/red]", soft_wrap=True)
        elif not quiet:
            out.print(f"{check.what}: {check.found}", soft_wrap=True)
    if any(check.advice for check in found):
        raise typer.Exit(1)


def _switch_on(stack: "Stack") -> None:
    """Unpause the DAGs. Without a champion the first life cycle starts now, not at night."""
    from core.releases import ReleaseReader
    from problems import load

    champion = ReleaseReader(stack.urls["mlflow"], load().spec.name).release().champion
    with stack.airflow() as airflow:
        for dag in (LIFECYCLE, MONITOR, FIRST):
            airflow.unpause(dag)
        if champion is None and not airflow.runs(LIFECYCLE):
            out.print("The first life cycle starts now; it takes a few minutes. `loop status` shows when it is done.")


def _show(stack: "Stack") -> None:
    """Processes with health and address, then how to log in."""
    from pipeline.stack.memory import measure

    table = _table("process", "address", "memory", "health")
    for record, trouble in stack.health():
        health = f"[red]{trouble}[/red]" if trouble else "[green]healthy[/green]"
        table.add_row(record.name, record.address, f"{measure([record.pid]) / 2**20:.0f} MB", health)
    out.print(table)
    user, password = stack.login
    out.print(f"\nAirflow's user is [bold]{user}[/bold], the password [bold]{password}[/bold]")
    out.print(f"Logs: {stack.home}/logs; stop with `loop down`", soft_wrap=True)


def _loop_state(stack: "Stack") -> Table:
    from core import database, decisions, predictions
    from core.releases import ReleaseReader
    from problems import load

    name = load().spec.name
    engine = database.connect(stack.settings.store_url)
    reader = ReleaseReader(stack.urls["mlflow"], name)
    release = reader.release()
    rows = {
        "problem": name,
        "champion": _version(reader, release.champion) if release.champion else "none yet",
        "canary": f"version {release.canary}, {release.percent:g} % of the entities" if release.canary else "none",
        "shadow": f"version {release.in_shadow}" if release.in_shadow else "none",
        "predictions": f"{predictions.count(engine, name):,}",
        "last decision": _last(decisions.history(engine, name)),
        "last life cycle": _last_run(stack),
    }
    table = _table("", "")
    table.show_header = False
    for what, value in rows.items():
        table.add_row(what, value)
    return table


def _version(reader: Any, version: str) -> str:
    tags = reader.tags(version)
    return f"version {version}: {tags['candidate']}, trained as of {tags['as_of']}, data {tags['data_version'][:8]}"


def _last(made: list[dict[str, Any]]) -> str:
    if not made:
        return "none yet"
    return f"{made[-1]['as_of']} {made[-1]['decision']}: {made[-1]['reasons'][0]}"


def _last_run(stack: "Stack") -> str:
    with stack.airflow() as airflow:
        runs = airflow.runs(LIFECYCLE, limit=1)
    return f"{runs[0].run_id.partition('__')[0]}, {runs[0].state}" if runs else "none yet"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
