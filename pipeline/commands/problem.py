"""Your own problem: write it from a table, and switch to it."""

from typing import Annotated, Literal

import typer

from pipeline.commands.console import out

Column = str | None


def init(
    data: Annotated[str, typer.Option(help="A CSV or Parquet file, a folder of daily ones, or a SQL URL.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    time: Annotated[Column, typer.Option(help="Column that says when an event takes place.")] = None,
    id: Annotated[Column, typer.Option(help="Column that identifies a row.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the problem. Default: the file's or the table's.")] = None,
    group: Annotated[Column, typer.Option(help="Column whose rows belong together, such as a patient.")] = None,
    table: Annotated[str | None, typer.Option(help="Table of the database.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="Column to use although it looks wrong. Repeatable.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out. Repeatable.")] = None,
    task: Annotated[
        Literal["binary", "multiclass", "regression"] | None, typer.Option(help="Default: inferred.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace problems/NAME.")] = False,
) -> None:
    """Write problems/NAME from a table: schema, split, gates, candidates, data.py and features.py."""
    from datetime import UTC, datetime

    from pipeline.onboarding import onboard, say
    from pipeline.onboarding.plan import Wishes

    wishes = Wishes(data, target, time, id, group, table, keep or (), drop or (), task)
    plan = onboard.onboard(wishes, name, datetime.now(UTC).date(), force=force)
    out.print(say.report(plan))


def use(name: Annotated[str, typer.Argument(help="A folder of problems/.")]) -> None:
    """Work on this problem: params.yaml names it, its day and its candidates."""
    from pipeline.onboarding.use import use

    chosen = use(name)
    out.print(f"params.yaml: problem {chosen.problem}, as of {chosen.as_of}, candidates {', '.join(chosen.candidates)}")
    out.print("Next: [bold]make demo[/bold] plays its last days; [bold]make up[/bold] starts the loop for good")
