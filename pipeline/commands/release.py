"""What is released, and changing it by hand. Every change leaves an event; `loop history` lists them."""

import getpass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.commands.console import out

if TYPE_CHECKING:
    from core.registry import Registry

Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence. It is kept with the event.")]


def promote(version: Annotated[str, typer.Argument(help="Version to make champion.")], reason: Reason) -> None:
    """Make a version the champion at once, past the gate and the canary."""
    registry = _registry()
    registry.tags(version)  # a version that does not exist is an error here, before anything changes
    registry.promote(version, f"user {getpass.getuser()}", reason, {})
    _see_it_served(f"Version {version} is the champion.")


def rollback(reason: Reason) -> None:
    """Make the champion before this one the champion again."""
    version = _registry().rollback(f"user {getpass.getuser()}", reason, {})
    _see_it_served(f"Rolled back: version {version} is the champion.")


def history() -> None:
    """Every promotion, canary, refusal and roll-back: who or what, when, why."""
    table = Table("when", "what", "version", "before", "by", "why", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for event in _registry().history():
        when = datetime.fromtimestamp(event.at).strftime("%Y-%m-%d %H:%M")
        what = event.action if event.finished else f"{event.action} (unfinished)"
        table.add_row(when, what, event.version, event.before or "", event.actor.partition("__")[0], event.reason)
    out.print(table if table.row_count else "Nothing was released yet.")


def _registry() -> "Registry":
    from core.config import settings
    from core.registry import Registry
    from problems import load

    return Registry(settings().mlflow_url, load().spec.name)


def _see_it_served(message: str) -> None:
    from pipeline.deploy import deploy

    deploy()
    out.print(message)
