"""Batch scoring: a whole table through a model."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.console import complaints, out

if TYPE_CHECKING:
    from pipeline.score.run import Tally

SWITCH_S = 0.0002  # the graph's thread must not wait 5 ms for the interpreter after each chunk of 27 ms
REJECTED = 3  # exit code: the output is whole, but for rows that were refused


def score(
    input: Annotated[str, typer.Option(help="A CSV or Parquet file, a folder of them, or a SQL URL.")],
    output: Annotated[Path, typer.Option(help="The file to write: .parquet or .csv.")],
    table: Annotated[str | None, typer.Option(help="Table of the database, or a query with an ORDER BY.")] = None,
    version: Annotated[str | None, typer.Option(help="Default: the champion.")] = None,
    as_of: Annotated[
        datetime | None, typer.Option(help="Moment (UTC) of rows without a time, where it is optional. Default: now.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Begin anew, and replace the output.")] = False,
) -> None:
    """Score a table of any size. Killed, the same command goes on; exit code 3: some rows were refused."""
    import sys
    from datetime import UTC

    from pipeline.score.job import Asked, prepare
    from pipeline.score.progress import progress
    from pipeline.score.run import rejected_path, run

    sys.setswitchinterval(SWITCH_S)
    now = as_of.replace(tzinfo=UTC) if as_of else None
    job, journal = prepare(Asked(input, output, table, version, now, force))
    with progress(job.source.rows(), complaints) as seen:
        tally = run(job, journal, seen)
    _say(tally, job.version, output)
    if tally.rejected:
        out.print(f"{tally.rejected:,} rows were refused: {rejected_path(output)} says why", soft_wrap=True)
        raise typer.Exit(REJECTED)


def _say(tally: "Tally", version: str, output: Path) -> None:
    fresh = tally.rows - tally.resumed
    out.print(
        f"{tally.scored:,} rows scored by version {version} into {output}: {fresh:,} rows in {tally.seconds:.1f} s, "
        f"{fresh / tally.seconds:,.0f} rows/s" + (f"; {tally.resumed:,} were there" if tally.resumed else ""),
        soft_wrap=True,
    )
    for name, rows in tally.missing.items():
        if rows:
            out.print(f"look-up {name} had nothing for {rows:,} of {tally.scored:,} rows: missing, as for the server")
