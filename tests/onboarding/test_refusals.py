"""What would mislead is refused or left out, with the reason and what to do; a refusal leaves nothing behind."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import ConfigError, DataError
from pipeline.onboarding import roles
from tests.onboarding.conftest import Init

N = 600


def table(**columns: object) -> pd.DataFrame:
    """600 rows: two columns that say something about `won`, and what else is given."""
    rng = np.random.default_rng(0)
    size, kind = rng.normal(50, 10, N).round(3), rng.choice(["a", "b", "c"], N)
    won = np.where(size + 8 * (kind == "a") + rng.normal(0, 8, N) > 53, "yes", "no")
    return pd.DataFrame({"size": size, "kind": kind, "won": won}).assign(**columns)


def written(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


NUMBERS = np.arange(N)
DATES = pd.date_range("2026-01-01", periods=N, freq="h")

REFUSED = {
    "a target that is not there": (
        table(),
        {"target": "wonn"},
        "target 'wonn' is not in the table; did you mean 'won'",
    ),
    "one class": (table(won="yes"), {}, "'won' is 'yes' in every row: there is nothing to tell apart"),
    "too few rows": (table().head(150), {}, "only 150 rows have an outcome in 'won'; 200 are needed"),
    "a target mostly missing": (table(won=np.where(NUMBERS % 3, None, "x")), {}, "67% of 'won' is missing"),
    "too many classes": (table(won=[f"c{i % 55}" for i in NUMBERS]), {}, "55 classes, at most 50 can be judged"),
    "a class of a few rows": (
        table(won=np.where(NUMBERS < 4, "draw", np.where(NUMBERS % 2, "yes", "no"))),
        {},
        r"fewer than 10 rows.*'draw' \(4\); merge them",
    ),
    "a moment as the target": (table(won=DATES), {}, "holds moments; predict a number instead"),
    "text as a number": (table(), {"task": "regression"}, "not a number in every row"),
    "two values as many": (table(), {"task": "multiclass"}, "has 2 different values, so it is no multiclass target"),
    "a time that counts rows": (table(t=NUMBERS), {"time": "t"}, "it counts the rows; it is no moment"),
    "a time that lasts": (
        table(t=np.tile([90, 30.5, 10], N // 3)),
        {"time": "t"},
        "from 10 to 90: a duration or an amount",
    ),
    "a time of day": (table(t=DATES.strftime("%H:%M")), {"time": "t"}, "times of day, such as 00:00, without a date"),
    "a time that never changes": (table(t="2026-01-01"), {"time": "t"}, "every row is of 2026-01-01"),
    "a time in the future": (
        table(t=DATES + pd.Timedelta(days=900)),
        {"time": "t"},
        "100% of its moments are in the future",
    ),
    "a time with holes": (table(t=DATES.where(NUMBERS % 10 > 0)), {"time": "t"}, "10% of the rows have none"),
    "a time of words": (table(t=np.tile(["soon", "later"], N // 2)), {"time": "t"}, "read by no format"),
    "an id that repeats": (table(i=NUMBERS // 2), {"id": "i"}, "is not unique: 300 repeated values, such as '0'"),
    "an id with holes": (table(i=np.where(NUMBERS % 5, NUMBERS, np.nan)), {"id": "i"}, "'i': 120 rows have none"),
    "one column twice": (table(i=NUMBERS), {"id": "i", "time": "i"}, "'i' cannot be --time and --id at once"),
    "the target as the id": (table(), {"id": "won"}, "'won' cannot be the target and --id at once"),
    "the target dropped": (table(), {"drop": ["won"]}, "--drop 'won' is named for another part"),
    "few groups": (table(g=NUMBERS % 9), {"group": "g"}, "has 9 groups; 24 are needed"),
    "groups with holes": (table(g=np.where(NUMBERS % 2, NUMBERS, np.nan)), {"group": "g"}, "50% of the rows have none"),
    "nothing to learn from": (table()[["won"]].assign(note="same"), {}, "no column is left"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_mislead_is_refused_with_the_reason(what: str, init: Init, folder: Path, tmp_path: Path) -> None:
    frame, options, says = REFUSED[what]
    with pytest.raises(DataError, match=says):
        init(written(tmp_path, frame), **{"target": "won", **options})
    assert list(folder.iterdir()) == []


YES = table()["won"].eq("yes").to_numpy()
LEFT_OUT = {
    "a copy": (np.where(YES, "W", "L"), "nearly a copy of the target"),
    "a number that gives it away": (np.where(YES, 1.0, 0.0) + np.linspace(0, 0.4, N), "nearly a copy of the target"),
    "missing where it is no": (
        np.where(YES, np.random.default_rng(1).random(N), np.nan),
        "nearly a copy of the target",
    ),
    "a running number": (NUMBERS + 17, "almost every row has its own value"),
    "a key": ([f"k{(i * 7919) % 100_003:06d}" for i in NUMBERS], "almost every row has its own value"),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_column_that_would_mislead_is_left_out_loudly_unless_it_is_kept(
    what: str, init: Init, tmp_path: Path
) -> None:
    values, says = LEFT_OUT[what]
    place = written(tmp_path, table(odd=values))
    role = init(place, "won").roles["odd"]
    assert role.use == roles.LEFT_OUT
    assert says in role.warning
    assert "--keep 'odd' keeps it" in role.warning
    assert init(place, "won", keep=["odd"], name="kept").roles["odd"].use == roles.FEATURE


def test_a_copy_of_a_number_is_known_in_any_unit(init: Init, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    price = rng.lognormal(3, 1, N)
    frame = table(price=price, in_cents=price * 100 + 3, log=np.log(price), near=price * rng.normal(1, 0.2, N))
    plan = init(written(tmp_path, frame), "price")
    assert {name for name, role in plan.roles.items() if role.use == roles.LEFT_OUT} == {"in_cents", "log"}


def test_a_moment_after_the_event_is_not_known_before_it(init: Init, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    later = DATES + pd.to_timedelta(rng.integers(1, 90, N), unit="m")
    earlier = DATES - pd.to_timedelta(rng.integers(1, 90, N), unit="D")
    plan = init(written(tmp_path, table(at=DATES, closed=later, joined=earlier)), "won", time="at")
    assert "in 100% of the rows it is after the event" in plan.roles["closed"].warning
    assert "joined_days_before" in plan.features


def test_free_text_and_many_texts_and_empty_columns_are_no_features(init: Init, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    texts = [" ".join(rng.choice(["so", "many", "different", "words", "in", "here"], 20)) for _ in NUMBERS]
    many = [f"street {i} of many" for i in rng.integers(0, 450, N)]
    frame = table(remark=texts, street=many, nothing=np.nan, same=1, gone=np.where(NUMBERS < 5, NUMBERS, np.nan))
    plan = init(written(tmp_path, frame), "won")
    notes = {name: role.note for name, role in plan.roles.items() if role.use == roles.LEFT_OUT}
    assert set(notes) == {"remark", "street", "nothing", "same", "gone"}
    assert notes["nothing"] == "it has no values"
    assert notes["gone"] == "missing in 99.2% of the rows"
    assert "different texts" in notes["street"]


def test_a_problem_that_is_there_is_replaced_only_when_asked_to(init: Init, folder: Path, tmp_path: Path) -> None:
    place = written(tmp_path, table())
    init(place, "won", name="mine")
    mine = folder / "mine" / "problem.yaml"
    mine.write_text(mine.read_text() + "# mine\n")
    with pytest.raises(ConfigError, match="mine exists; --force replaces it, --name N makes another one"):
        init(place, "won", name="mine")
    assert mine.read_text().endswith("# mine\n")
    init(place, "won", name="mine", force=True)
    assert not mine.read_text().endswith("# mine\n")


def test_when_the_proof_fails_what_stood_there_stands_again(
    init: Init, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import validate

    place = written(tmp_path, table())
    monkeypatch.setattr(validate, "check", lambda spec, partitions: {"2026-01-01": ["it rained"]})
    with pytest.raises(DataError, match="would be quarantined; 2026-01-01: it rained"):
        init(place, "won", name="proven")
    assert list(folder.iterdir()) == []
    monkeypatch.undo()
