"""The spool: nothing that was acknowledged is lost, nothing is counted twice."""

import errno
import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from core import predictions
from core.database import connect
from core.errors import ConfigError
from core.predictions import PREDICTIONS, count
from serving import spool as spools
from serving.shipper import Shipper
from serving.spool import Spool, SpoolFull
from serving.store import Store


def line(i: int, **change: Any) -> bytes:
    texts = dict.fromkeys(("event_id", "entity", "model_version"), "x") | {"problem": "p", "role": "champion"}
    numbers = {"event_time": 1, "served_at": 1.0, "score": 0.5, "error": None, "latency_ms": 0.1}
    columns: dict[str, Any] = {"inputs": {"t": "é"}, "features": {"f": None}, "as_of": {}, "day": "2013-04-01"}
    return json.dumps({"id": f"{i:06d}", **texts, **numbers, **columns, **change}).encode() + b"\n"


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    return connect(f"sqlite:///{tmp_path / 'store.db'}")


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def ship(spool: Spool, tmp_path: Path) -> None:
    assert Shipper(spool, Store(f"sqlite:///{tmp_path / 'store.db'}")).ship_all()


def ids(store: Engine) -> list[str]:
    with store.connect() as connection:
        return [row.id for row in connection.execute(select(PREDICTIONS.c.id).order_by(PREDICTIONS.c.id))]


def test_what_was_appended_is_shipped_once_and_in_order(tmp_path: Path, store: Engine) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=1000)
    for i in range(20):
        spool.append(line(i), 1)
        if i % 7 == 0:
            ship(spool, tmp_path)
    ship(spool, tmp_path)
    assert ids(store) == [f"{i:06d}" for i in range(20)]
    assert (spool.pending_bytes, spool.pending_rows) == (0, 0)
    assert len(list((tmp_path / "spool").glob("*.jsonl"))) == 1


def test_what_a_dead_process_left_is_shipped_without_its_torn_line(tmp_path: Path, store: Engine) -> None:
    dead = Spool(tmp_path / "spool")
    dead.append(line(0) + line(1), 2)
    dead.close()
    with next((tmp_path / "spool").glob("*.jsonl")).open("ab") as file:
        file.write(line(2)[:-10])
    spool = Spool(tmp_path / "spool")
    assert spool.pending_rows == 2
    spool.append(line(3), 1)
    ship(spool, tmp_path)
    assert ids(store) == ["000000", "000001", "000003"]
    assert (spool.pending_bytes, spool.pending_rows) == (0, 0)


def test_progress_survives_a_restart_and_lines_shipped_twice_count_once(tmp_path: Path, store: Engine) -> None:
    spool = Spool(tmp_path / "spool")
    for restart in range(4):
        spool.append(line(restart), 1)
        ship(spool, tmp_path)
        spool.close()
        if restart == 2:
            (tmp_path / "spool" / spools.PROGRESS).unlink()
        spool = Spool(tmp_path / "spool")
    ship(spool, tmp_path)
    assert ids(store) == [f"{i:06d}" for i in range(4)]


def test_lines_of_a_new_segment_are_not_skipped_by_old_progress(tmp_path: Path, store: Engine) -> None:
    for i in range(3):
        spool = Spool(tmp_path / "spool")
        ship(spool, tmp_path)  # reaches the end of the old segment and deletes it
        spool.append(line(i), 1)
        ship(spool, tmp_path)
        spool.close()
    assert count(store, "p") == 3


def test_over_its_limit_it_refuses_and_keeps_what_it_has(tmp_path: Path, store: Engine) -> None:
    spool = Spool(tmp_path / "spool", limit=3 * len(line(0)))
    for i in range(3):
        spool.append(line(i), 1)
    with pytest.raises(SpoolFull, match="has not taken"):
        spool.append(line(3), 1)
    ship(spool, tmp_path)
    spool.append(line(4), 1)
    ship(spool, tmp_path)
    assert count(store, "p") == 4


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append(line(0), 1)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:10]))
    with pytest.raises(SpoolFull, match="No space left"):
        spool.append(line(1), 1)
    monkeypatch.undo()
    spool.append(line(2), 1)
    ship(spool, tmp_path)
    assert ids(store) == ["000000", "000002"]


def test_a_disk_with_no_room_for_the_next_segment_loses_nothing(
    tmp_path: Path, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=len(line(0)))
    spool.append(line(0), 1)
    with monkeypatch.context() as full:
        full.setattr(os, "open", no_space)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(line(1), 1)
        ship(spool, tmp_path)
    spool.append(line(2), 1)
    ship(spool, tmp_path)
    assert ids(store) == ["000000", "000002"]


def test_shipping_goes_on_where_progress_cannot_be_noted(
    tmp_path: Path, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=len(line(0)))
    monkeypatch.setattr(Path, "write_text", no_space)
    for i in range(3):
        spool.append(line(i), 1)
    ship(spool, tmp_path)
    spool.close()
    assert Spool(tmp_path / "spool").pending_rows <= 1  # the last segment, again
    assert ids(store) == [f"{i:06d}" for i in range(3)]


def test_it_is_in_trouble_until_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", limit=10 * len(line(0)))
    assert spool.trouble() is None
    for i in range(10):
        spool.append(line(i), 1)
    with pytest.raises(SpoolFull):
        spool.append(line(10), 1)
    assert "is full" in str(spool.trouble())
    ship(spool, tmp_path)
    assert spool.trouble() is None


def test_a_disk_that_was_full_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    with monkeypatch.context() as full:
        full.setattr(os, "write", no_space)
        full.setattr(Path, "write_bytes", no_space)
        with pytest.raises(SpoolFull):
            spool.append(line(0), 1)
        assert "No space left" in str(spool.trouble())
    assert spool.trouble() is None
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["000000000001.jsonl", "owner.lock"]


def test_a_large_backlog_is_not_read_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    first, rows = tmp_path / "spool" / f"{1:012d}.jsonl", 40_000
    first.write_bytes(line(0) * rows)
    for number in range(2, 20):
        os.link(first, first.with_name(f"{number:012d}.jsonl"))
    tracemalloc.start()
    spool = Spool(tmp_path / "spool")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * spools.READ < first.stat().st_size
    assert spool.pending_bytes == 19 * first.stat().st_size
    assert spool.pending_rows == pytest.approx(19 * rows, rel=0.01)


def test_a_bug_in_shipping_does_not_end_it(tmp_path: Path, store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    shipper = Shipper(spool, Store(f"sqlite:///{tmp_path / 'store.db'}"))
    spool.append(line(0), 1)
    with monkeypatch.context() as broken:
        broken.setattr(predictions, "add_lines", lambda *_: 1 / 0)
        shipper.start()
        time.sleep(0.5)
    until = time.monotonic() + 10
    while spool.pending_rows and time.monotonic() < until:
        time.sleep(0.05)
    shipper.stop()
    assert ids(store) == ["000000"]


def test_a_line_longer_than_what_is_read_at_once_is_shipped(tmp_path: Path, store: Engine) -> None:
    spool = Spool(tmp_path / "spool", segment_bytes=1000)
    for i, length in enumerate((10, 3 * spools.READ, 10, spools.READ - 1)):
        spool.append(line(i, inputs={"pixels": "x" * length}), 1)
    ship(spool, tmp_path)
    assert ids(store) == [f"{i:06d}" for i in range(4)]
    assert spool.pending_bytes == 0


def test_a_record_that_the_store_never_takes_is_kept_aside_and_holds_nothing_up(tmp_path: Path, store: Engine) -> None:
    spool = Spool(tmp_path / "spool")
    bad = [line(1, entity=None), line(2, day="never"), b"not json\n"]
    spool.append(line(0) + b"".join(bad) + line(3), 5)
    ship(spool, tmp_path)
    assert ids(store) == ["000000", "000003"]
    assert (tmp_path / "spool" / spools.REFUSED).read_bytes() == b"".join(bad)


def test_two_processes_cannot_share_a_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    with pytest.raises(ConfigError, match="LOOP_HOME"):
        Spool(tmp_path / "spool", patience_s=0.2)
    spool.close()
    Spool(tmp_path / "spool", patience_s=0.2).close()
