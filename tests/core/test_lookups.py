"""The as-of join: never newer than asked, never older than the tolerance, the same as pandas' own."""

import numpy as np
import pandas as pd
import pytest

from core import lookups
from core.lookups import Lookup, join, joined_key
from core.schema import LookupSpec

HOUR = 3600
START = np.datetime64("2013-04-01T00:00:00")


def hours(*values: float) -> np.ndarray:
    return START + (np.array(values) * HOUR).astype("timedelta64[s]")


def lookup(keys: list[str], at: np.ndarray, values: list[float], tolerance_h: float = 3) -> Lookup:
    return Lookup.build(np.array(keys, str), at, {"rain": np.array(values)}, tolerance_h)


def ask(table: Lookup, key: str, *at: float) -> list[float]:
    found, _ = table.asof(np.array([key] * len(at)), hours(*at))
    return [float(value) for value in found["rain"]]


def test_a_row_counts_from_the_second_it_is_available() -> None:
    table = lookup(["a", "a"], hours(1, 2), [10, 20])
    assert ask(table, "a", 1, 2 - 1 / HOUR, 2, 2.5) == [10, 10, 20, 20]
    assert np.isnan(ask(table, "a", 1 - 1 / HOUR)).all()


def test_a_row_older_than_the_tolerance_is_missing() -> None:
    table = lookup(["a"], hours(1), [10])
    assert ask(table, "a", 4) == [10]
    assert np.isnan(ask(table, "a", 4 + 1 / HOUR)).all()


def test_a_key_sees_its_own_rows_only_also_at_the_ends_of_the_order() -> None:
    table = lookup(["b", "d"], hours(1, 1), [1, 2])
    for unknown in ("a", "c", "e", ""):
        assert np.isnan(ask(table, unknown, 0, 1, 2)).all(), unknown
    assert np.isnan(ask(table, "d", 0)).all(), "b's row must not answer for d before d has one"


def test_the_availability_used_is_told_and_is_nat_where_there_is_none() -> None:
    table = lookup(["a"], hours(1), [10])
    _, used = table.asof(np.array(["a", "a", "b"]), hours(0, 2, 2))
    assert used.astype(str).tolist() == ["NaT", "2013-04-01T01:00:00", "NaT"]


def test_an_empty_table_answers_missing() -> None:
    table = lookup([], hours(), [])
    found, used = table.asof(np.array(["a", "b"]), hours(1, 2))
    assert np.isnan(found["rain"]).all()
    assert np.isnat(used).all()


def test_no_question_gets_no_answer() -> None:
    found, used = lookup(["a"], hours(1), [10]).asof(np.array([], str), hours())
    assert found["rain"].shape == used.shape == (0,)


def test_a_moment_that_is_missing_finds_nothing() -> None:
    found, _ = lookup(["a"], hours(1), [10]).asof(np.array(["a"]), np.array(["NaT"], "datetime64[s]"))
    assert np.isnan(found["rain"]).all()


@pytest.mark.parametrize("cells", [0, 1 << 20])
@pytest.mark.parametrize("seed", range(8))
def test_random_tables_give_what_pandas_merge_asof_gives(
    seed: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "GRID_CELLS", cells)  # many rows go through a grid, where it is not too large
    rng = np.random.default_rng(seed)
    rows, questions = int(rng.integers(1, 400)), 500
    names = np.array(["JFK", "EWR", "LGA", "a", "zz\x1fy"])
    right = pd.DataFrame(
        {"key": rng.choice(names[:4], rows), "at": hours(*rng.integers(0, 300, rows) / 4), "rain": rng.random(rows)}
    ).drop_duplicates(["key", "at"])
    left = pd.DataFrame({"key": rng.choice(names, questions), "at": hours(*rng.integers(-40, 400, questions) / 4)})
    wanted = pd.merge_asof(
        left.sort_values("at", kind="stable"),
        right.assign(used=right["at"]).sort_values("at"),
        on="at",
        by="key",
        tolerance=pd.Timedelta(hours=3),
    )
    table = Lookup.build(right["key"].to_numpy(str), right["at"].to_numpy(), {"rain": right["rain"].to_numpy()}, 3)
    asked = left.sort_values("at", kind="stable")
    found, used = table.asof(asked["key"].to_numpy(str), asked["at"].to_numpy())
    np.testing.assert_array_equal(found["rain"], wanted["rain"].to_numpy(np.float32))
    np.testing.assert_array_equal(used, wanted["used"].to_numpy("datetime64[s]"))
    assert not (used > asked["at"].to_numpy()).any()


def test_one_question_gets_the_answer_it_gets_among_many() -> None:
    table = lookup(["a", "b", "b"], hours(1, 1, 2), [1, 2, 3])
    keys, at = np.array(["b", "a", "c", "b"]), hours(1.5, 1.5, 1.5, 2.5)
    together, _ = table.asof(keys, at)
    alone = [table.asof(keys[i : i + 1], at[i : i + 1])[0]["rain"][0] for i in range(4)]
    np.testing.assert_array_equal(together["rain"], np.array(alone))


# join -----------------------------------------------------------------------------------------------------------------

SPEC = {
    "weather": LookupSpec(keys=["city"], tolerance_h=3, feed="live", values={"rain": {"description": "mm"}}),
}


def test_a_value_the_caller_sent_stands_and_one_it_left_out_is_looked_up() -> None:
    table = lookup(["a"], hours(1), [10])
    columns = {"city": np.array(["a", "a"]), "rain": np.array([7.0, np.nan])}
    joined, used = join(columns, hours(2, 2), SPEC, {"weather": table})
    assert joined["rain"].tolist() == [7.0, 10.0]
    assert used["weather"].tolist() == hours(1, 1).tolist()
    assert np.isnan(columns["rain"][1]), "the argument is not changed"


def test_keys_of_several_columns_do_not_run_into_each_other() -> None:
    one = joined_key({"x": np.array(["ab", "a"]), "y": np.array(["c", "bc"])}, ["x", "y"])
    assert one[0] != one[1]
    assert joined_key({"x": np.array([1, 2]), "y": np.array(["a", "b"])}, ["x"]).tolist() == ["1", "2"]


@pytest.mark.parametrize("keys", [["city"], ["city", "hour"], ["hour", "city", "day"]])
def test_many_rows_are_joined_as_each_of_them_alone(keys: list[str]) -> None:
    rng, n = np.random.default_rng(1), 1000
    columns = {
        "city": rng.choice(["a", "b", "ä", "unknown"], n),
        "hour": rng.integers(0, 24, n),
        "day": np.datetime64("2013-04-01") + rng.integers(0, 3, n),
    }
    spec = {"weather": LookupSpec(keys=keys, tolerance_h=3, feed="live", values={"rain": {"description": "mm"}})}
    known = joined_key({name: column[:300] for name, column in columns.items()}, keys)
    table = Lookup.build(known, hours(*rng.integers(0, 40, 300) / 4), {"rain": rng.random(300)}, 3)
    at = hours(*rng.integers(-4, 60, n) / 4)
    together, used = join(columns, at, spec, {"weather": table})
    for i in range(0, n, 37):
        one = {name: column[i : i + 1] for name, column in columns.items()}
        alone, used_alone = join(one, at[i : i + 1], spec, {"weather": table})
        np.testing.assert_array_equal(together["rain"][i : i + 1], alone["rain"])
        np.testing.assert_array_equal(used["weather"][i : i + 1], used_alone["weather"])
    assert 0 < np.isnan(together["rain"]).sum() < n
