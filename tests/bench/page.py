"""How a benchmark ends: its table, what it missed, and docs/performance.md, where each has its own two marks."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PAGE = Path(__file__).resolve().parents[2] / "docs/performance.md"


def replace_table(start: str, end: str, table: str) -> None:
    before, _, rest = PAGE.read_text().partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{start}\n{table}\n{end}{after}")


def end(table: str, missed: Sequence[str]) -> NoReturn:
    """Exit code 1 where a target was missed."""
    print(table)
    for line in missed:
        print(f"MISSED: {line}", file=sys.stderr)
    sys.exit(bool(missed))
