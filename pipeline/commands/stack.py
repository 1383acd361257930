"""The stack on this machine: start it, stop it, and what would stand in its way. `loop status` is commands.status."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.console import out
from pipeline.commands.status import show

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
    show(stack)


def down() -> None:
    """Stop what `loop up` started, and only that. Data, models and history stay."""
    from core.config import settings
    from pipeline.stack.stack import Stack

    stack = Stack(settings())
    was_running = stack.is_running()
    stack.stop()
    out.print("Stopped." if was_running else "Nothing was running.")


def doctor(
    containers: Annotated[bool, typer.Option(help="Look at what `docker compose up` needs.")] = False,
    quiet: Annotated[bool, typer.Option(help="Say only what is wrong.")] = False,
) -> None:
    """What would stand in the way of starting: ports, memory, disk, the Docker engine. Then the exit code is 1."""
    from core.config import environment, settings
    from pipeline import doctor

    found = list(doctor.containers(environment()) if containers else doctor.laptop(settings()))
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
