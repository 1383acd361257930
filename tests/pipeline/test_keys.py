"""`loop keys`, and our own clients: they send the key, and say so when it is refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import keys
from core.errors import DeployError
from core.keys import Key
from core.releases import Release
from pipeline.commands.keys import app
from pipeline.deploy.local import LocalTarget
from pipeline.stack import credentials
from tests.serving.conftest import filled
from tests.serving.models import bundle
from tests.serving.process import ServerHere


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def loop(*words: str) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def shown(output: str) -> str:
    """The key that a command shows."""
    (found,) = re.findall(r"^loop_\S+$", output, re.MULTILINE)
    return str(found)


def find(home: Path, key: str) -> Key | None:
    found = keys.read(home / "keys.json")
    return found.find(key.encode()) if found else None


def test_a_new_key_is_shown_once_and_listed_without_it(home: Path) -> None:
    key = shown(loop("add", "web", "--scope", "predict", "--scope", "operate", "--expires", "30"))
    made = find(home, key)
    assert made is not None
    assert made.expires is not None
    assert ((made.expires - made.created).days, made.scopes) == (30, ("predict", "operate"))
    listed = loop("list")
    assert "web" in listed
    assert key not in listed


def test_a_rotated_key_has_a_successor_and_a_revoked_one_none(home: Path) -> None:
    old = shown(loop("add", "web", "--scope", "predict"))
    new = shown(loop("rotate", "web", "--overlap", "2"))
    assert find(home, old) is not None
    assert find(home, new) is not None
    loop("revoke", "web")
    assert (find(home, old), find(home, new)) == (None, None)


def test_the_first_key_does_not_lock_out_the_stack(home: Path) -> None:
    own = credentials.read_or_create(home)["LOOP_SERVING_KEY"]
    loop("add", "web", "--scope", "predict")
    found = find(home, own)
    assert found is not None
    assert found.scopes == ("predict", "operate")


@pytest.fixture
def guarded(home: Path, tmp_path: Path) -> Iterator[tuple[ServerHere, str]]:
    """A server that wants keys, and one that may look."""
    from problems import load

    registry = filled({"1": bundle(load("flights").spec, tmp_path / "1")})
    key = shown(loop("add", "watcher", "--scope", "operate"))
    server = ServerHere(home, registry.url)
    server.ready()
    yield server, key
    server.stop()
    registry.close()


def test_the_target_sends_the_key_of_the_settings(
    guarded: tuple[ServerHere, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, key = guarded
    monkeypatch.setenv("LOOP_SERVING_KEY", key)
    assert LocalTarget(str(server.client.base_url)).status() == Release("1", None, 0.0)


def test_a_target_that_refuses_our_key_is_an_error_at_once(guarded: tuple[ServerHere, str]) -> None:
    server, _ = guarded
    with pytest.raises(DeployError, match=r"send an API key.*LOOP_SERVING_KEY"):
        LocalTarget(str(server.client.base_url)).apply(Release("1", None, 0.0))
