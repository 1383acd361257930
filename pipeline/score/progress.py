"""How far a run is: a bar on a terminal, else a line in the log now and then."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.score.run import Tally

EVERY_S = 10.0
log = logging.getLogger(__name__)
Seen = Callable[[Tally], None]


@contextmanager
def progress(rows: int | None, console: Console) -> Iterator[Seen]:
    """A function to tell after each chunk. `rows`: of the whole table, where they are known."""
    if not console.is_terminal:
        yield _lines(rows, console)
        return
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} rows")
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("scoring", total=rows)
        yield lambda tally: bar.update(task, completed=tally.rows)


def _lines(rows: int | None, console: Console) -> Seen:
    begun = last = time.monotonic()
    of = f" of {rows:,}" if rows else ""

    def seen(tally: Tally) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= EVERY_S:
            last = now
            rate = (tally.rows - tally.resumed) / (now - begun)
            refused = f", {tally.rejected:,} refused" if tally.rejected else ""
            console.print(f"{tally.rows:,}{of} rows read, {rate:,.0f} rows/s{refused}", soft_wrap=True)

    return seen
