"""What is inferred: moments, kinds, classes, names, days and batches."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.onboarding import kinds, target
from pipeline.onboarding.arrange import arrange, event_time
from pipeline.onboarding.kinds import Column
from pipeline.onboarding.moments import Form, form_of
from pipeline.onboarding.names import identifiers, problem_name
from pipeline.onboarding.rhythm import Rhythm
from pipeline.onboarding.target import Target

TODAY = date(2026, 11, 21)
HOURS = pd.Series(pd.date_range("2026-02-27", periods=900, freq="h"))


@pytest.mark.parametrize(
    "form",
    [
        *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%Y%m%d", "%Y%m%d%H%M", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y"),
        *("%m/%d/%Y %I:%M %p", "%Y/%m/%d %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%d.%m.%y", "%Y-%m-%d %H.%M"),
    ],
)
def test_dates_are_read_however_they_are_written(form: str) -> None:
    found = form_of(HOURS.dt.strftime(form), "column")
    assert found is not None
    assert found.form == form


def test_four_digits_are_a_year_and_not_a_year_and_an_hour() -> None:
    days = pd.Series(pd.date_range("2012-01-01", "2015-12-31")).dt.strftime("%d.%m.%Y")
    assert form_of(days, "date") == Form("%d.%m.%Y")


@pytest.mark.parametrize(
    "text", ["2026-02-27", "2026-02-27 10:00:00", "2026-02-27T10:00:00.5Z", "2026-02-27T10:00+01:00"]
)
def test_iso_dates_are_iso(text: str) -> None:
    found = form_of(pd.Series([text] * 5), "column")
    assert found is not None
    assert found.form == "ISO8601"


def test_an_order_of_day_and_month_that_both_fit_is_doubted() -> None:
    found = form_of(pd.Series(["01/02/2026", "02/02/2026", "03/02/2026", "12/02/2026"]), "when")
    assert found is not None
    assert found.form == "%d/%m/%Y"
    assert found.doubt == "%m/%d/%Y fits as well, over a longer span"


def test_seconds_since_1970_are_moments_only_under_a_name_that_says_so() -> None:
    seconds = pd.Series(HOURS.astype("datetime64[s]").astype("int64"))
    assert form_of(seconds, "price") is None
    assert form_of(seconds, "created_at") is not None
    assert form_of(seconds, "price", asked=True) is not None
    assert form_of(pd.Series([1999, 2001, 2010]), "year") is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "3"] * 50, "number"),
        (["1,234.5", "12.0", "3"] * 50, "number"),
        (["€ 12", "€ 13.5", "7"] * 50, "number"),
        (["007", "012", "110"] * 50, "category"),
        (["True", "False"] * 50, "category"),
        ([True, False] * 50, "category"),
        (["yes", "no", None] * 50, "category"),
        (["x"] * 100, "constant"),
        ([None] * 100, "empty"),
        ([f"text {i}" for i in range(300)], "text"),
        ([[1, 2], [3, 4]] * 50, "nested"),
    ],
)
def test_a_column_s_kind_is_what_its_values_are(values: list[object], kind: str) -> None:
    assert kinds.look("column", "column", pd.Series(values), ".").kind == kind


def looked(values: object, asked: str | None = None) -> Target:
    return target.look(pd.Series(values), "y", ".", asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["no", "yes"] * 200, "binary", ["no", "yes"]),
        (["Yes", "No", "No"] * 200, "binary", ["No", "Yes"]),
        (["0", "1"] * 200, "binary", []),
        ([0.0, 1.0] * 200, "binary", []),
        ([True, False] * 200, "binary", ["False", "True"]),
        (["left", "right", "right"] * 200, "binary", ["right", "left"]),
        ([1, 2, 2] * 200, "binary", ["2", "1"]),
        (["a", "b", "c"] * 200, "multiclass", ["a", "b", "c"]),
        ([3, 1, 2] * 200, "multiclass", ["1", "2", "3"]),
        (list(range(400)), "regression", []),
        (np.linspace(0, 1, 400), "regression", []),
    ],
)
def test_the_task_and_its_classes_follow_from_the_values(values: object, task: str, classes: list[str]) -> None:
    found = looked(values)
    assert (found.task, found.classes) == (task, classes)
    assert not np.isnan(found.y).any()


def test_a_task_that_is_asked_for_wins() -> None:
    assert looked([3, 1, 2] * 200, "regression").task == "regression"


def test_far_out_values_are_a_reason_that_is_told() -> None:
    assert "far out" in looked(np.random.default_rng(0).pareto(1, 500)).notes[0]


def test_names_become_identifiers_that_are_all_different() -> None:
    odd = ["Größe (kg)", 'how "happy"', "原産地", "2nd", "_x", "a b", "a-b", "class", "copy", "label", "A_B", ""]
    assert list(identifiers(odd).values()) == [
        *("Größe_kg", "how_happy", "原産地", "c_2nd", "x", "a_b", "a_b_2", "class_", "copy_", "label_", "A_B_3", "c"),
    ]


def test_a_problem_s_name_is_plain() -> None:
    assert [problem_name(text) for text in ("Café Größe", "2013 flights", "原", "import")] == [
        *("cafe_groe", "p_2013_flights", "p", "import_"),
    ]


def column(name: str, values: object) -> Column:
    return kinds.look(name, name, pd.Series(values), ".")


def test_the_only_moment_is_the_time_unless_it_is_a_birthday() -> None:
    at, born = column("at", HOURS), column("birth_date", HOURS)
    assert event_time({"at": at, "birth_date": born}, None, TODAY)[0] == "at"
    time, notes = event_time({"at": at, "sent": column("sent", HOURS)}, None, TODAY)
    assert time is None
    assert notes == ["at, sent could each be the time of an event: say which with --time"]


def test_rows_sorted_by_the_target_are_shuffled_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    x = {"x": column("x", rng.random(600))}
    assert arrange(x, looked(np.sort(y)), None, None, TODAY).order == "shuffled"
    assert arrange(x, looked(y), None, None, TODAY).order == "arrival"
    assert arrange(x, looked(np.sort(rng.random(600))), None, None, TODAY).order == "shuffled"
    assert arrange(x, looked(np.cumsum(rng.normal(0.3, 1, 600))), None, None, TODAY).order == "arrival"


@pytest.mark.parametrize("rows", [200, 569, 1461, 6366, 20_190, 300_000])
def test_batches_leave_room_for_training_a_holdout_and_a_retraining_in_the_demo(rows: int) -> None:
    y = np.random.default_rng(0).random(rows)
    goal = looked(y)
    rhythm = Rhythm.of(arrange({"x": column("x", y)}, goal, None, None, TODAY).days, True, goal)
    assert rhythm.last == date(2026, 11, 20)
    assert rhythm.can_retrain
    assert rhythm.demo_days >= rhythm.cooldown + 2
    assert rhythm.min_days <= rhythm.holdout <= rhythm.min_train + rhythm.span
    assert rhythm.canary_requests <= rhythm.usual * rhythm.canary_percent / 100


def test_weekends_without_rows_are_no_bad_days() -> None:
    rng = np.random.default_rng(0)
    weekdays = HOURS[HOURS.dt.weekday < 5].reset_index(drop=True)
    goal = looked(rng.random(len(weekdays)))
    given = arrange({"at": column("at", weekdays)}, goal, "at", None, TODAY)
    rhythm = Rhythm.of(given.days, False, goal)
    assert given.batch is None
    assert rhythm.share < 0.8
    assert rhythm.min_days < 5
    assert rhythm.watched_min_days is not None
    assert rhythm.latest(TODAY) == date(2026, 4, 4)


def test_what_was_found_is_written_as_a_person_would(tmp_path: Path) -> None:
    from pipeline.onboarding.in_yaml import bounds

    assert bounds(column("a", [3.0, 97.0, 50.0] * 20)) == (0, 150)
    assert bounds(column("b", [-5.0, 5.0, 1.0] * 20)) == (-10, 10)
    assert bounds(column("c", [0.012, 0.05, 0.03] * 20)) == (0, 0.069)
