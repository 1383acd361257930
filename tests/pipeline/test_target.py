"""The local target keeps what every target promises; the docker target's run is in tests/compose."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.errors import ConfigError, ModelRefused
from core.pinned import ABOUT, About, PinnedReader
from core.releases import Release
from core.runtime import digest
from pipeline.deploy.local import LocalTarget
from problems import load
from tests.pipeline.target import PROMISES, Ground, registry
from tests.serving.models import bundle
from tests.serving.process import ServerHere


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    fake = registry(tmp_path)
    server = ServerHere(tmp_path / "home", fake.url)
    yield Ground(LocalTarget(str(server.client.base_url), timeout_s=3), fake.release)
    server.stop()
    fake.close()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_local_target_keeps_its_promises(promise: Callable[[Ground], None], ground: Ground) -> None:
    promise(ground)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One version, as an image holds it."""
    made = bundle(load("flights").spec, tmp_path / "model", prediction=0.75)
    (made / ABOUT).write_text(About(version="7", digest=digest(made)).model_dump_json())
    return made


def test_a_server_of_one_version_needs_no_registry(folder: Path, tmp_path: Path) -> None:
    server = ServerHere(tmp_path / "home", "http://127.0.0.1:9", model=str(folder))
    try:
        assert server.ready()["registry_reachable"] is True
        assert server.get("/release").json()["champion"] == "7"
    finally:
        server.stop()


def test_a_folder_that_was_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    reader = PinnedReader(folder)
    assert reader.release() == Release("7", None)
    (folder / "model.onnx").write_bytes(b"another")
    with pytest.raises(ModelRefused, match="digest"):
        reader.fetch("7", tmp_path / "cache")


def test_a_folder_without_a_version_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LOOP_MODEL"):
        PinnedReader(tmp_path)
