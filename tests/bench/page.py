"""docs/performance.md, as far as the benchmarks write it: each replaces what stands between its own two marks."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/performance.md"


def replace_table(start: str, end: str, table: str) -> None:
    before, _, rest = PAGE.read_text().partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{start}\n{table}\n{end}{after}")
