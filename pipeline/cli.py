"""The command line `loop`: one small function a command. What a command needs is imported inside it, so that
`loop --help` answers at once. No logic lives here.
"""

import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from core.errors import LoopError
from pipeline.commands import data, release
from pipeline.commands.demo import demo

if TYPE_CHECKING:
    from pipeline.stack.stack import Stack

STACK = "The stack on this machine"
DAGS = ("lifecycle", "monitor")
out = Console()
complaints = Console(stderr=True)


class Commands(typer.Typer):
    """Turns an error that a person can act on into one red message and exit code 1."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except LoopError as error:
            complaints.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            sys.exit(1)


app = Commands(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)


@app.callback()
def prepare() -> None:
    """Machine learning that closes its own loop: train, gate, release, serve, watch, retrain.

    [bold]loop up[/bold] starts the servers, [bold]loop status[/bold] shows them, [bold]loop down[/bold] stops them.
    Settings are LOOP_ variables or lines in .env; .env.example lists them all.
    """
    import os

    from core.config import settings
    from pipeline.stack.services import QUIET
    from pipeline.stack.stack import adopt

    os.environ.update(QUIET)
    adopt(settings().home)


@app.command(rich_help_panel=STACK)
def up() -> None:
    """Start MLflow, Airflow and the model server, switch the DAGs on, and leave all of it running."""
    from core.config import settings
    from pipeline.stack import signals
    from pipeline.stack.stack import Stack

    stack = Stack(settings(), progress=lambda name, seconds: out.print(f"  {name} is ready after {seconds:.0f} s"))
    if stack.is_running():
        out.print("The stack is already running.")
    else:
        out.print(f"Starting the stack in {stack.home} (half a minute or so) ...", highlight=False)
        with signals.unwind():
            stack.start()
    switch_on(stack)
    show(stack)


@app.command(rich_help_panel=STACK)
def down() -> None:
    """Stop what `loop up` started, and only that. Data, models and history stay."""
    from core.config import settings
    from pipeline.stack.stack import Stack

    stack = Stack(settings())
    was_running = stack.is_running()
    stack.stop()
    out.print("Stopped." if was_running else "Nothing was running.")


@app.command(rich_help_panel=STACK)
def status() -> None:
    """What runs, whether it is healthy, where it listens and how much memory it takes."""
    from core.config import settings
    from pipeline.stack.stack import Stack

    stack = Stack(settings())
    if not stack.is_running():
        out.print(f"No stack is running in {stack.home}; `loop up` starts one.", highlight=False)
        return
    show(stack)


def switch_on(stack: "Stack") -> None:
    """Unpause the DAGs of this repository."""
    from core.config import ROOT

    present = [name for name in DAGS if (ROOT / "dags" / f"{name}.py").exists()]
    if not present:
        return
    with stack.airflow() as airflow:
        for name in present:
            airflow.unpause(name)


def show(stack: "Stack") -> None:
    """Processes with health and address, then how to log in."""
    from pipeline.stack.memory import measure

    table = Table("process", "address", "memory", "health", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for record, trouble in stack.health():
        health = f"[red]{trouble}[/red]" if trouble else "[green]healthy[/green]"
        table.add_row(record.name, record.address, f"{measure([record.pid]) / 2**20:.0f} MB", health)
    out.print(table)
    user, password = stack.login
    out.print(f"\nAirflow's user is [bold]{user}[/bold], the password [bold]{password}[/bold]", highlight=False)
    out.print(f"Logs: {stack.home}/logs; stop with `loop down`", highlight=False, soft_wrap=True)


app.command(rich_help_panel=STACK)(demo)
for command in (release.history, release.promote, release.rollback):
    app.command(rich_help_panel="What is released")(command)
app.add_typer(data.app, name="data", rich_help_panel="Data")

if __name__ == "__main__":
    app()
