"""Data by day and by version."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.console import out

app = typer.Typer(no_args_is_help=True, help="Data by day and by version.")
Day = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="A day, such as 2013-04-01.")]


@app.command()
def restore(version: str, folder: Annotated[Path, typer.Argument(help="A new or empty folder.")]) -> None:
    """Bring back the exact training data of a registered version, from the DVC remote alone."""
    from pipeline import datasets

    out.print(f"Data version {datasets.restore(version, folder)} is in {folder}", soft_wrap=True)


@app.command()
def pull(as_of: Day) -> None:
    """Put the window before a day into data/raw and set as_of in params.yaml, ready for `dvc repro`."""
    from pipeline import datasets

    out.print(f"Data version {datasets.check_out(as_of.date())} is in data/raw; now run: dvc repro")


@app.command()
def ingest(first: Day, last: Annotated[datetime | None, typer.Argument(formats=["%Y-%m-%d"])] = None) -> None:
    """Fetch days from the source again. Days whose rows changed become a new data version."""
    from pipeline import datasets

    span = ((last or first) - first).days + 1
    done = datasets.ingest([first.date() + timedelta(days=i) for i in range(span)])
    out.print(f"{span} days: {len(done.new)} new, {len(done.changed)} with other rows than before")
    for day in done.changed:
        out.print(f"  {day}: a new data version was made; models trained on the old one keep theirs")
