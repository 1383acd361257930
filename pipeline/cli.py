"""The command line `loop`: the commands in the order in which a newcomer meets them (pipeline.commands).

`loop --help` answers at once: what a command needs is imported when it runs.
"""

import sys
from collections.abc import Callable
from typing import Any

import typer

from core.errors import LoopError
from pipeline.commands import data, image, keys, problem, release, stack
from pipeline.commands.console import complaints
from pipeline.commands.demo import demo
from pipeline.commands.score import score
from pipeline.commands.status import status
from pipeline.commands.why import why

STACK, PROBLEM, RELEASE = "The loop on this machine", "Your own problem", "What is released"


class Commands(typer.Typer):
    """Turns an error that a person can act on into one red message and exit code 1."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except LoopError as error:
            complaints.print(str(error), style="red", markup=False, soft_wrap=True)
            sys.exit(1)


app = Commands(no_args_is_help=True, rich_markup_mode="rich", add_completion=False)


@app.callback()
def prepare() -> None:
    """Machine learning that closes its own loop: train, gate, release, serve, watch, retrain.

    [bold]loop demo[/bold] plays the whole loop on real data in a few minutes.
    [bold]loop up[/bold] starts it for good; [bold]loop status[/bold] shows where it stands.
    [bold]loop history[/bold] says what was released, when and why.

    Settings are LOOP_ variables or lines in .env; .env.example lists them all.
    """
    import os

    from core.config import settings
    from pipeline.stack.services import QUIET
    from pipeline.stack.stack import adopt

    os.environ.update(QUIET)
    adopt(settings().home)


ON_THIS_MACHINE: list[Callable[..., None]] = [demo, stack.up, status, why, stack.down, stack.doctor]
YOUR_OWN: list[Callable[..., None]] = [problem.init, problem.use]
RELEASED: list[Callable[..., None]] = [score, release.history, release.promote, release.rollback]
for panel, commands in ((STACK, ON_THIS_MACHINE), (PROBLEM, YOUR_OWN), (RELEASE, RELEASED)):
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(release.app, name="release", rich_help_panel=RELEASE)
app.add_typer(data.app, name="data", rich_help_panel="Data")
app.add_typer(image.app, name="image", rich_help_panel=RELEASE)
app.add_typer(keys.app, name="keys", rich_help_panel="Keys of the model server")

if __name__ == "__main__":
    app()
