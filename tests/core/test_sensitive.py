"""Sensitive columns: what may be one, and what is left of its values."""

from datetime import datetime
from typing import Any

import pytest

from core.errors import ConfigError
from core.schema import ProblemSpec
from core.sensitive import Mask
from tests import toy

SALT = "a long and secret salt"
ROW = {"id": "e1", "who": "Erika Mustermann", "size": 5.0}


def spec(*sensitive: str, **change: Any) -> ProblemSpec:
    plain = toy.spec(**{name: toy.COLUMNS[name] | {"sensitive": True} for name in sensitive})
    return ProblemSpec.model_validate(plain.model_dump() | change)


def test_a_sensitive_value_becomes_a_hash_and_the_others_stay() -> None:
    found = Mask(spec("who", "size"), SALT).row(ROW)
    assert found["id"] == "e1"
    assert len(found["who"]) == len(found["size"]) == 64
    assert "Erika" not in str(found)


def test_the_same_value_has_the_same_hash_and_another_one_another() -> None:
    mask = Mask(spec("who"), SALT)
    assert mask.row(ROW) == mask.row(dict(ROW))
    assert mask.text("who", "Erika Mustermann") == mask.row(ROW)["who"]
    assert mask.text("who", "erika mustermann") != mask.row(ROW)["who"]


def test_another_salt_column_or_problem_makes_another_hash() -> None:
    hashes = {
        Mask(spec("who", "kind"), SALT).hidden("who", "x"),
        Mask(spec("who", "kind"), SALT).hidden("kind", "x"),
        Mask(spec("who", "kind"), SALT + "!").hidden("who", "x"),
        Mask(spec("who", name="other"), SALT).hidden("who", "x"),
    }
    assert len(hashes) == 4


def test_the_same_moment_has_the_same_hash_in_any_time_zone() -> None:
    mask, moment = Mask(spec("who"), SALT), "2013-04-01T00:00:00"
    hashes = [
        mask.hidden("born", datetime.fromisoformat(text))
        for text in (f"{moment}+00:00", "2013-03-31T19:00:00-05:00", f"{moment}+01:00")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_nothing_stays_nothing() -> None:
    assert Mask(spec("who"), SALT).row({"who": None}) == {"who": None}


def test_a_problem_without_sensitive_columns_needs_no_salt() -> None:
    assert Mask(spec(), "").row(ROW) is ROW


@pytest.mark.parametrize("salt", ["", "short"])
def test_a_problem_with_one_wants_a_salt_and_does_not_repeat_it(salt: str) -> None:
    with pytest.raises(ConfigError, match=r"toy has sensitive columns \(who\).*LOOP_SALT") as found:
        Mask(spec("who"), salt)
    assert "short" not in str(found.value)


def test_a_feature_of_a_sensitive_column_is_neither_logged_nor_watched() -> None:
    features = toy.FEATURES | {"rain": {"kind": "number", "sensitive": True}}
    found = spec("who", features=features)
    assert found.unlogged == {"who", "rain"}
    assert set(found.watched) == {"size", "kind"}


@pytest.mark.parametrize("name", ["id", "at"])
def test_neither_id_nor_time_can_be_sensitive(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be sensitive; labels are found by it"):
        spec(name)


def test_an_array_cannot_be_sensitive() -> None:
    with pytest.raises(ValueError, match="an array cannot be sensitive"):
        toy.spec(face={"type": "array", "description": "face", "shape": [2, 2], "sensitive": True})


def test_a_statistic_is_logged_so_it_cannot_be_sensitive() -> None:
    with pytest.raises(ValueError, match="which is sensitive; statistics are logged"):
        spec("size", monitor={"statistics": ["size"]})
