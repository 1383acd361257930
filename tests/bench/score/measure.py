"""What is measured: rows a second of `loop score` and of onnxruntime alone, in turns, and the command's memory."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.score.material import CSV_ROWS, Material
from tests.serving.process import ROOT
from tests.serving.registry import FakeRegistry

ROUNDS, BARE_S = 5, 2.0  # bare is timed as long as a table takes
POLL_S = 0.02


@dataclass(frozen=True)
class Run:
    """One run of the command."""

    per_s: float  # rows, as it says itself: from the first row read to the output whole
    whole_s: float  # of the process, from its start to its end
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Measured:
    rows: int
    bare_per_s: list[float]
    parquet: list[Run]
    csv: Run
    stages_us: dict[str, float]  # processor time a row of each stage


def measure(material: Material) -> Measured:
    registry = FakeRegistry("flights")
    registry.register("1", material.bundle)
    registry.release("1")
    try:
        bare, runs = [], []
        for _ in range(ROUNDS):
            bare.append(_bare(material))
            runs.append(_score(material, registry.url, material.parquet))
        return Measured(material.rows, bare, runs, _score(material, registry.url, material.csv), _stages(material))
    finally:
        registry.close()


def _bare(material: Material) -> float:
    command = [sys.executable, "-m", "tests.bench.score.bare", str(material.bundle), str(material.ready), str(BARE_S)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def _stages(material: Material) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.score.stages", str(material.folder)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    )
    return found


def _score(material: Material, registry_url: str, table: Path) -> Run:
    """The command as a person runs it; only the registry is a stand-in."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LOOP_")}
    places = {"LOOP_HOME": str(material.folder / "home"), "LOOP_MLFLOW_URL": registry_url, "LOOP_PROBLEM": "flights"}
    output, said = material.folder / "scores.parquet", material.folder / "said"
    command = [sys.executable, "-m", "pipeline.cli", "score", "--input", str(table), "--output", str(output), "--force"]
    started = time.perf_counter()
    with said.open("w") as file, subprocess.Popen(command, cwd=ROOT, env=clean | places, stdout=file) as process:
        peak_mb, used = _watched(process)
    whole_s, text = time.perf_counter() - started, said.read_text()
    wanted = material.rows if table == material.parquet else min(material.rows, CSV_ROWS, 1 << 18)
    if process.returncode or f"{wanted:,} rows scored" not in text:
        raise SystemExit(f"`loop score` failed with {process.returncode}: {text}")
    found = re.search(r"([\d,]+) rows/s", text)
    assert found is not None, text
    per_s = float(found[1].replace(",", ""))
    return Run(per_s, whole_s, used, peak_mb)


def _watched(process: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """Wait for its end: its largest memory in MB, as the kernel notes it (what wait4 says counts this process's, too,
    which it is a copy of at first), and its processor time in seconds."""
    peak_kb, status = 0, Path(f"/proc/{process.pid}/status")
    while True:
        pid, code, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(code)
            return peak_kb / 1024, used.ru_utime + used.ru_stime
        if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
            peak_kb = int(found[1])
        time.sleep(POLL_S)
