"""The targets of the server's benchmark, its table, and where the table is kept."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

import psutil

from tests.bench.page import replace_table
from tests.bench.serving.measure import BATCH_ROWS, CONNECTIONS, ROUND_S, ROUNDS, Measured

START, END = "<!-- make bench-serving -->", "<!-- end -->"
NAMES = {"ours": "this server", "empty": "an empty FastAPI endpoint", "mlflow": "`mlflow models serve`"}
PACKAGES = ("uvicorn", "httptools", "uvloop", "fastapi", "pydantic", "msgspec", "onnxruntime", "mlflow", "scikit-learn")


@dataclass(frozen=True)
class Target:
    """One ratio or number. The benchmark fails beyond `floor`, which is the target but where a busy machine shows."""

    what: str
    got: float
    sign: str  # >= or <=
    target: float
    floor: float

    def meets(self, limit: float) -> bool:
        return self.got >= limit if self.sign == ">=" else self.got <= limit


def targets(found: Measured) -> list[Target]:
    ours, empty, mlflow = (found.loads[name] for name in ("ours", "empty", "mlflow"))
    in_batches = found.batch_rows_per_s / found.bare_row_per_s
    return [
        Target("requests/s, times those of `mlflow models serve`", ours.per_s / mlflow.per_s, ">=", 20, 20),
        Target("requests/s, times those of the empty endpoint", ours.per_s / empty.per_s, ">=", 0.6, 0.45),
        Target("p99, times that of `mlflow models serve`", ours.p99_ms / mlflow.p99_ms, "<=", 0.1, 0.2),
        Target("rows/s in batches, times bare onnxruntime's row by row", in_batches, ">=", 0.5, 0.4),
        Target("memory under load, MB", found.rss_mb["ours"], "<=", 150, 150),
        Target("start to ready with a warm model cache, s", found.ready_s, "<=", 2, 4),
    ]


def missed(found: Measured) -> list[str]:
    return [
        f"{one.what}: {one.got:.3g}, it must be {one.sign} {one.floor:g}"
        for one in targets(found)
        if not one.meets(one.floor)
    ]


def table(found: Measured) -> str:
    lines = ["| server | requests/s | p50 ms | p99 ms | memory MB |", "|---|---|---|---|---|"]
    for name, load in found.loads.items():
        numbers = f"{load.per_s:,.0f} | {load.p50_ms:.2f} | {load.p99_ms:.2f} | {found.rss_mb[name]:.0f}"
        lines.append(f"| {NAMES[name]} | {numbers} |")
    lines += ["", "| what | measured | target | the benchmark fails beyond |", "|---|---|---|---|"]
    lines += [f"| {t.what} | {t.got:.3g} | {t.sign} {t.target:g} | {t.floor:g} |" for t in targets(found)]
    return "\n".join([*lines, "", *_notes(found)])


def write(found: Measured) -> None:
    """Replace the table of docs/performance.md."""
    replace_table(START, END, table(found))


def _notes(found: Measured) -> list[str]:
    bare = f"{found.bare_row_per_s:,.0f} one by one, {found.bare_rows_per_s:,.0f} {BATCH_ROWS:,} at a time"
    busiest = max(load.generator_share for load in found.loads.values())
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"Batches of {BATCH_ROWS:,} rows: {found.batch_rows_per_s:,.0f} rows/s; bare onnxruntime, rows/s: {bare}.",
        "",
        f"{CONNECTIONS} keep-alive connections, one row a request, {ROUNDS} rounds of {ROUND_S:g} s in turns, of which",
        "the quietest counts: what else the machine does can only take away. The load generator, a process of its own,",
        f"needed at most {busiest:.0%} of a core.",
        f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, Python {platform.python_version()};",
        f"{packages}.",
    ]
