"""The key file: what is in it, who may read it, and how keys come, change and go."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core import keys
from core.errors import ConfigError
from core.keys import Keys, new_key

DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_found_by_what_was_sent_and_by_nothing_else() -> None:
    one, other = new_key(), new_key()
    found = Keys().added("one", one, ["predict"]).added("other", other, ["operate"])
    sent = found.find(one.encode())
    assert sent is not None
    assert (sent.name, sent.scopes) == ("one", ("predict",))
    for wrong in (b"", one[:-1].encode(), one.upper().encode(), sent.hash.encode(), b"\xff" * 50, b"x" * 10_000):
        assert found.find(wrong) is None


def test_the_file_holds_no_key_and_only_its_owner_reads_it(path: Path) -> None:
    key = new_key()
    keys.change(path, lambda found: found.added("one", key, ["predict"]))
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = keys.read(path)
    assert found is not None
    assert found.find(key.encode()) is not None


def test_keys_have_256_random_bits() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert {len(key) for key in made} == {len("loop_") + 43}  # 32 bytes in base64


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ConfigError, match="there is a key named 'one'"):
        Keys().added("one", new_key(), ["predict"]).added("one", new_key(), ["predict"])


@pytest.mark.parametrize(("name", "scopes"), [("a b", ["predict"]), ("", ["predict"]), ("a", []), ("a", ["admin"])])
def test_a_key_without_a_proper_name_or_scope_is_refused(name: str, scopes: list[str]) -> None:
    with pytest.raises(ConfigError, match="a scope or two"):
        Keys().added(name, new_key(), scopes)


def test_a_revoked_key_is_gone() -> None:
    key = new_key()
    assert Keys().added("one", key, ["predict"]).without("one").find(key.encode()) is None


def test_revoking_a_name_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match="no key named 'two'; there are: one"):
        Keys().added("one", new_key(), ["predict"]).without("two")


def test_after_a_rotation_both_keys_are_valid_for_a_while() -> None:
    old, new, now = new_key(), new_key(), datetime.now(UTC)
    found = Keys().added("one", old, ["predict", "operate"]).rotated("one", new, timedelta(hours=1))
    before, after = found.find(old.encode()), found.find(new.encode())
    assert before is not None
    assert after is not None
    assert before.is_valid(now)
    assert not before.is_valid(now + timedelta(hours=1, seconds=5))
    assert after.is_valid(now + 1000 * DAY)
    assert after.scopes == ("predict", "operate")


def test_a_rotation_gives_an_old_key_no_longer_life_and_the_new_one_as_long_a_life() -> None:
    old, new, now = new_key(), new_key(), datetime.now(UTC)
    found = Keys().added("one", old, ["predict"], lives=DAY).rotated("one", new, overlap=100 * DAY)
    before, after = found.find(old.encode()), found.find(new.encode())
    assert before is not None
    assert after is not None
    assert not before.is_valid(now + 1.1 * DAY)
    assert after.expires is not None
    assert after.expires - now < 1.1 * DAY


def test_rotations_leave_nothing_that_has_expired() -> None:
    found = Keys().added("one", new_key(), ["predict"])
    for _ in range(5):
        found = found.rotated("one", new_key(), timedelta(0))
    assert len(found.keys) == 2


def test_a_file_that_is_no_key_file_is_an_error_that_repeats_nothing_of_it(path: Path) -> None:
    path.write_text('{"keys": [{"name": "one", "hash": "loop_my-own-key"}]}')
    with pytest.raises(ConfigError, match="is no key file") as found:
        keys.read(path)
    assert "my-own-key" not in str(found.value)


def test_a_key_is_admitted_only_where_there_is_a_file_and_once(path: Path) -> None:
    key = new_key()
    keys.admit(path, "stack", key)
    assert keys.read(path) is None
    keys.change(path, lambda found: found.added("one", new_key(), ["predict"]))
    for _ in range(2):
        keys.admit(path, "stack", key)
    keys.admit(path, "stack", other := new_key())
    found = keys.read(path)
    assert found is not None
    assert [each.name for each in found.keys] == ["one", "stack"]
    assert found.find(key.encode()) is None
    assert found.find(other.encode()) is not None
