"""What the kernel's files say about memory, in words."""

from pathlib import Path

import pytest

from core import memory


def cgroup(folder: Path, limit: str, kills: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 7\noom 2\noom_kill {kills}\noom_group_kill 0\n")
    return folder


def test_the_kernel_s_files_are_read(tmp_path: Path) -> None:
    place = cgroup(tmp_path, str(3 * 2**29), 2)
    assert (memory.kills(place), memory.limit(place)) == (2, "1.5 GiB")


@pytest.mark.parametrize("limit", ["max", None])
def test_without_a_limit_it_is_the_machine_s_memory(tmp_path: Path, limit: str | None) -> None:
    place = cgroup(tmp_path, limit, 0) if limit else tmp_path / "none"
    assert (memory.kills(place), memory.limit(place)) == (0, "the machine's memory")


@pytest.mark.parametrize("said", ["failed to run: python -m x, exited with -9", "failed to run: x, exited with 137"])
def test_a_kill_is_recognised(said: str) -> None:
    assert memory.KILLED.search(said)


@pytest.mark.parametrize("said", ["failed to run: x, exited with 1", "exited with -90", "exited with 1370"])
def test_another_end_is_none(said: str) -> None:
    assert not memory.KILLED.search(said)


def test_words_say_only_what_is_known() -> None:
    assert memory.words("stage x", 1, "2Gi").startswith("stage x ran out of memory: it may use 2Gi. Give it more")
    assert "was killed (SIGKILL), as happens when memory runs out" in memory.words("stage x", 0, "2Gi")
