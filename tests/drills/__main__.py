"""`make drill-serving`: real servers under load are killed, starved and flooded; nothing acknowledged may be lost.

python -m tests.drills [NAME...] [--seed N]
"""

import argparse
import os
import secrets
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.drills.drills import DRILLS
from tests.drills.ground import ground
from tests.drills.report import HEADINGS, Report


def main() -> int:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    arguments = _arguments()
    print(f"seed {arguments.seed}")
    reports = [_run(name, arguments.seed) for name in arguments.names or DRILLS]
    Console(width=160).print(_table(reports))
    return 1 if any(report.wrong for report in reports) else 0


def _run(name: str, seed: int) -> Report:
    started = time.monotonic()
    with ground(seed) as found:
        try:
            report = DRILLS[name](found)
        except AssertionError as error:  # something never came; what is in the store is told all the same
            report = Report.of(found, name, wrong=[str(error)])
    print(f"{name}: {time.monotonic() - started:.0f} s", "WRONG" if report.wrong else "", flush=True)
    return report


def _table(reports: list[Report]) -> Table:
    table = Table(*HEADINGS)
    for report in reports:
        table.add_row(*report.cells, style="red" if report.wrong else None)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(DRILLS)}")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of everything that is random")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
