"""A fake cluster whose pods run stubs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes_api.cluster import FakeCluster
from tests.kubernetes_api.stubs import Stubs


@pytest.fixture
def stubs() -> Stubs:
    return Stubs()


@pytest.fixture
def fake(tmp_path: Path, stubs: Stubs) -> Iterator[FakeCluster]:
    made = FakeCluster(tmp_path, stubs)
    yield made
    made.close()
