"""Processes are stopped with all that they started; a pid that now belongs to somebody else is left alone."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.stack.memory import MemorySampler, measure
from pipeline.stack.processes import Record, is_alive, log_tail, members, stop_all


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def record_of(pid: int, created: float) -> Record:
    return Record(name="mlflow", pid=pid, created=created, address="", probe=None, log=Path("mlflow.log"))


def test_a_stale_pid_is_not_killed(stranger: psutil.Process) -> None:
    stale = record_of(stranger.pid, stranger.create_time() - 100)
    assert not is_alive(stale)
    stop_all([stale], grace_s=5)
    assert stranger.is_running()


def test_a_pid_of_the_time_before_a_reboot_is_not_looked_for() -> None:
    assert members(record_of(2**22 - 1, psutil.boot_time() - 1000)) == []


def test_a_live_process_is_recognised_and_stopped(stranger: psutil.Process) -> None:
    record = record_of(stranger.pid, stranger.create_time())
    assert is_alive(record)
    stop_all([record], grace_s=5)
    assert not is_alive(record)


def test_the_end_of_a_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "mlflow.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    assert log_tail(log, lines=2) == "    line 98\n    line 99"


def test_the_sampler_keeps_the_peak_of_all_processes(stranger: psutil.Process) -> None:
    with MemorySampler(lambda: [stranger.pid], every_s=0.01) as sampler:
        time.sleep(0.2)
        alone = measure([stranger.pid])
    assert sampler.peak_bytes >= alone > 1_000_000


def test_a_process_that_is_gone_counts_nothing() -> None:
    assert measure([2**22 - 1]) == 0
