"""The targets of the batch benchmark, its table, and where the table is kept."""

from tests.bench.page import replace_table
from tests.bench.score.measure import Measured

SHARE, PEAK_MB = 0.8, 1000.0
FLOOR = 0.6  # of the share, beyond which the benchmark fails: the other stages need a core that nobody else uses
START, END = "<!-- make bench-score -->", "<!-- end of make bench-score -->"


def ratios(found: Measured) -> list[tuple[str, float, str, float, float]]:
    """What, how much, at least (>=) or at most (<=), the target, and beyond what the benchmark fails. Each side's best
    round: what else the machine does only makes a round slower."""
    best, bare = max(run.per_s for run in found.parquet), max(found.bare_per_s)
    peak = max(run.peak_mb for run in [*found.parquet, found.csv])
    return [
        ("rows/s, times those of bare onnxruntime", best / bare, ">=", SHARE, FLOOR),
        ("largest memory of the process, MB", peak, "<=", PEAK_MB, PEAK_MB),
    ]


def missed(found: Measured) -> list[str]:
    return [
        f"{what}: {got:.3g}, it must be {sign} {floor:g}"
        for what, got, sign, _, floor in ratios(found)
        if not (got >= floor if sign == ">=" else got <= floor)
    ]


def table(found: Measured) -> str:
    lines = ["| what | rows/s, best | each round | memory MB |", "|---|---|---|---|"]
    lines.append(f"| bare onnxruntime | {max(found.bare_per_s):,.0f} | {_each(found.bare_per_s)} | – |")
    per_s, peak = [run.per_s for run in found.parquet], max(run.peak_mb for run in found.parquet)
    lines.append(f"| `loop score`, Parquet, {found.rows:,} rows | {max(per_s):,.0f} | {_each(per_s)} | {peak:.0f} |")
    lines.append(
        f"| `loop score`, CSV | {found.csv.per_s:,.0f} | {_each([found.csv.per_s])} | {found.csv.peak_mb:.0f} |"
    )
    lines += ["", "| what | measured | target | the benchmark fails beyond |", "|---|---|---|---|"]
    lines += [
        f"| {what} | {got:.3g} | {sign} {target:g} | {floor:g} |" for what, got, sign, target, floor in ratios(found)
    ]
    stages = ", ".join(f"{name} {us:.2f}" for name, us in found.stages_us.items())
    whole = min(found.parquet, key=lambda run: run.whole_s)
    cpu = f"The whole process, imports and all, took {whole.whole_s:.1f} s and {whole.cpu_s:.1f} s of processor time."
    return "\n".join([*lines, "", f"Processor time of a row by stage, in microseconds: {stages}.", cpu])


def _each(per_s: list[float]) -> str:
    return ", ".join(f"{value / 1000:,.0f} k" for value in per_s)


def write(found: Measured) -> None:
    """Replace the table of docs/performance.md."""
    replace_table(START, END, table(found))
