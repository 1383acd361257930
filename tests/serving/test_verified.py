"""What is served is what was registered: anything else is refused, says why, and leaves the server on what it has."""

import json
from pathlib import Path

import pytest

from core import releases
from core.runtime import MODEL
from core.schema import ProblemSpec
from serving.schemas import example
from tests.serving.conftest import PROBABILITY, Start
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry


def cached(tmp_path: Path, version: str) -> Path:
    return tmp_path / "home" / "serving" / "flights" / "models" / version


def stays_on_1(server: ServerHere, spec: ProblemSpec, version: str, why: str) -> None:
    """It refuses `version` for that reason, and answers with version 1."""
    assert version in server.wait_reason(why)
    assert server.get("/readyz").status_code == 200
    found = server.get("/release").json()
    assert found["champion"] == "1"
    assert why in found["refused"][version]
    assert server.post("/predict", example(spec)).json()["probability"] == PROBABILITY["1"]


def test_a_version_without_a_digest_is_refused(start: Start, registry: FakeRegistry, spec: ProblemSpec) -> None:
    server = start()
    del registry.digests["2"]
    registry.release("2")
    stays_on_1(server, spec, "2", "no digest was recorded")


def test_files_changed_in_the_registry_are_refused(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    server = start()
    registry.bundles["2"] = registry.bundles["1"]
    registry.release("2")
    stays_on_1(server, spec, "2", "do not match the digest")
    assert not cached(tmp_path, "2").exists()


def test_files_changed_in_the_cache_are_fetched_anew(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    server = start()
    registry.release("2")
    server.wait("/release", champion="2")
    forge(cached(tmp_path, "1"), registry)
    registry.release("1")
    server.wait("/release", champion="1")
    assert server.post("/predict", example(spec)).json()["probability"] == PROBABILITY["1"]


def test_files_changed_in_the_cache_while_they_are_served_are_not_trusted_later(
    start: Start, registry: FakeRegistry, tmp_path: Path
) -> None:
    server = start()
    forge(cached(tmp_path, "1"), registry)
    registry.release("1", "2", 50)
    server.wait("/release", canary="2")  # what is served is noted now
    server.stop()
    registry.up = False
    server = start(ready=False)
    assert "gone or changed" in server.wait_reason("cache")
    assert server.get("/readyz").status_code == 503


def test_a_file_without_end_is_refused_and_not_kept(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start()
    monkeypatch.setattr(releases, "LARGEST", 100)
    registry.release("2")
    stays_on_1(server, spec, "2", "has more than 100 bytes")
    assert list(cached(tmp_path, "2").iterdir()) == []


@pytest.mark.parametrize("version", ["../../../keys", "/tmp/x", "..", "a/b"])
def test_a_version_that_is_a_path_is_refused_and_nothing_is_touched(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path, version: str
) -> None:
    server = start()
    precious = tmp_path / "home" / "keys"
    precious.mkdir()
    registry.bundles[version], registry.digests[version] = registry.bundles["2"], "0" * 64
    registry.aliases = {"champion": version}
    server.wait_reason("which can be none")
    assert precious.exists()
    assert server.get("/release").json()["champion"] == "1"
    assert server.post("/predict", example(spec)).status_code == 200


def test_a_contract_that_is_no_contract_is_refused(
    start: Start, registry: FakeRegistry, spec: ProblemSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name, content in {MODEL: "no graph", "contract.json": json.dumps([1]), "example.json": "{}"}.items():
        (folder / name).write_text(content)
    server = start()
    registry.register("3", folder)
    registry.release("3")
    stays_on_1(server, spec, "3", "cannot be loaded")


def forge(folder: Path, registry: FakeRegistry) -> None:
    """Put version 2's graph in the place of another's."""
    (folder / MODEL).write_bytes((registry.bundles["2"] / MODEL).read_bytes())
