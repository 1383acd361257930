"""Secrets of the local stack: private, random, and the same at every start."""

import json
import stat
from pathlib import Path

from pipeline.stack.credentials import FILE, PASSWORD, PASSWORDS_FILE, read_or_create


def test_only_the_owner_can_read_the_secrets(tmp_path: Path) -> None:
    read_or_create(tmp_path)
    for name in (FILE, PASSWORDS_FILE):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_second_start_finds_the_same_secrets(tmp_path: Path) -> None:
    assert read_or_create(tmp_path) == read_or_create(tmp_path)


def test_two_homes_have_different_secrets(tmp_path: Path) -> None:
    one, other = read_or_create(tmp_path / "one"), read_or_create(tmp_path / "other")
    assert all(one[name] != other[name] for name in one)


def test_keys_are_long_enough_and_the_password_is_airflows(tmp_path: Path) -> None:
    found = read_or_create(tmp_path)
    assert len(found["AIRFLOW__API_AUTH__JWT_SECRET"].encode()) >= 64
    assert json.loads((tmp_path / PASSWORDS_FILE).read_text()) == {"admin": found[PASSWORD]}
