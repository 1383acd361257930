"""`make bench-serving`: our server beside `mlflow models serve` and an empty FastAPI endpoint. Exit 1 below a target.

With --write the table goes into docs/performance.md. About two minutes; what else the machine does shows in all of it.
"""

import argparse
import tempfile
from pathlib import Path

from tests.bench import page
from tests.bench.serving import material, report
from tests.bench.serving.measure import measure


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-serving", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        found = measure(material.make(Path(folder, "models"), f"sqlite:///{home / 'loop.db'}"), home)
    if write:
        report.write(found)
    page.end(report.table(found), report.missed(found))


if __name__ == "__main__":
    main()
