"""The targets of the server's benchmark, its table, and where the table is kept."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from tests.bench.serving.measure import BATCH_ROWS, CONNECTIONS, ROUND_S, ROUNDS, Measured

PAGE = Path(__file__).resolve().parents[3] / "docs/performance.md"
START, END = "<!-- make bench-serving -->", "<!-- end -->"
NAMES = {"ours": "this server", "empty": "an empty FastAPI endpoint", "mlflow": "`mlflow models serve`"}
PACKAGES = ("uvicorn", "httptools", "uvloop", "fastapi", "pydantic", "msgspec", "onnxruntime", "mlflow", "scikit-learn")


def ratios(found: Measured) -> list[tuple[str, float, str, float]]:
    """What, how much, at least (>=) or at most (<=), the target."""
    ours, empty, mlflow = (found.loads[name] for name in ("ours", "empty", "mlflow"))
    return [
        ("requests/s, times those of `mlflow models serve`", ours.per_s / mlflow.per_s, ">=", 20.0),
        ("requests/s, times those of the empty endpoint", ours.per_s / empty.per_s, ">=", 0.6),
        ("p99, times that of `mlflow models serve`", ours.p99_ms / mlflow.p99_ms, "<=", 0.1),
        (
            "rows/s in batches, times bare onnxruntime's row by row",
            found.batch_rows_per_s / found.bare_row_per_s,
            ">=",
            0.5,
        ),
        ("memory under load, MB", found.rss_mb["ours"], "<=", 150.0),
        ("start to ready with a warm model cache, s", found.ready_s, "<=", 2.0),
    ]


def missed(found: Measured) -> list[str]:
    return [
        f"{what}: {got:.3g}, the target is {sign} {target:g}"
        for what, got, sign, target in ratios(found)
        if not (got >= target if sign == ">=" else got <= target)
    ]


def table(found: Measured) -> str:
    lines = ["| server | requests/s | p50 ms | p99 ms | memory MB |", "|---|---|---|---|---|"]
    for name, load in found.loads.items():
        numbers = f"{load.per_s:,.0f} | {load.p50_ms:.2f} | {load.p99_ms:.2f} | {found.rss_mb[name]:.0f}"
        lines.append(f"| {NAMES[name]} | {numbers} |")
    lines += ["", "| what | measured | target |", "|---|---|---|"]
    lines += [f"| {what} | {got:.3g} | {sign} {target:g} |" for what, got, sign, target in ratios(found)]
    bare = f"{found.bare_row_per_s:,.0f} one by one, {found.bare_rows_per_s:,.0f} {BATCH_ROWS:,} at a time"
    busiest = max(load.generator_share for load in found.loads.values())
    return "\n".join(
        [
            *lines,
            "",
            f"Batches of {BATCH_ROWS:,} rows: {found.batch_rows_per_s:,.0f} rows/s. Bare onnxruntime: rows/s {bare}.",
            f"{CONNECTIONS} keep-alive connections, one row a request; of {ROUNDS} rounds of {ROUND_S:g} s, in turns, the "
            f"quietest. The load generator, a process of its own, needed at most {busiest:.0%} of a core.",
            _machine(),
        ]
    )


def write(found: Measured) -> None:
    """Replace the table of docs/performance.md."""
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{table(found)}\n{END}{after}")


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB"
    return f"{machine}, Python {platform.python_version()}; {packages}."
