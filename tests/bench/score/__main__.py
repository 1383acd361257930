"""`make bench-score`: `loop score` beside onnxruntime alone, on a table like flights. Exit 1 below a target.

With --write the table goes into docs/performance.md. `--rows 10000000` is the size that the memory is promised for.
"""

import argparse
import tempfile
from pathlib import Path

from tests.bench import page
from tests.bench.score import material, report
from tests.bench.score.measure import measure

ROWS = 2_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-score", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of the table (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(material.make(Path(folder), given.rows))
    if given.write:
        report.write(found)
    page.end(report.table(found), report.missed(found))


if __name__ == "__main__":
    main()
