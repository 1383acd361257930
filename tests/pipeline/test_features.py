"""The features table, of any task; and who may see which rows: an event counts by its own day and by the day its
label became known."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.columns import Columns
from core.errors import DataError
from core.schema import ProblemSpec
from pipeline import features
from pipeline.features import holdout_rows, training_rows
from problems import Problem
from tests.pipeline.test_validate import partition
from tests.toy import spec


def table(*rows: tuple[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["_day", "_known_on"]).apply(pd.to_datetime)
    return frame.assign(_id=[f"{day} known {known}" for day, known in rows])


FRAME = table(
    ("2013-04-10", "2013-04-10"),
    ("2013-04-10", "2013-04-11"),  # landed after the cut-off
    ("2013-04-11", "2013-04-11"),
    ("2013-04-17", "2013-04-17"),
    ("2013-04-17", "2013-04-18"),
    ("2013-04-18", "2013-04-18"),
)


def test_training_sees_earlier_events_whose_label_was_known_by_the_cut_off() -> None:
    assert training_rows(FRAME, date(2013, 4, 11))["_id"].tolist() == ["2013-04-10 known 2013-04-10"]
    assert len(training_rows(FRAME, date(2013, 4, 12))) == 3


def test_the_holdout_is_the_last_week_as_far_as_its_labels_are_known() -> None:
    held_out = holdout_rows(spec(), FRAME, date(2013, 4, 18))["_id"].tolist()
    assert held_out == ["2013-04-11 known 2013-04-11", "2013-04-17 known 2013-04-17"]


def test_training_and_holdout_share_no_row_and_the_refit_sees_both() -> None:
    as_of, start = date(2013, 4, 18), date(2013, 4, 11)
    trained, held_out = set(training_rows(FRAME, start)["_id"]), set(holdout_rows(spec(), FRAME, as_of)["_id"])
    assert not trained & held_out
    assert trained | held_out <= set(training_rows(FRAME, as_of)["_id"])


# the table ------------------------------------------------------------------------------------------------------------

PIXELS = {"type": "array", "shape": [2, 2], "description": "?"}


def derive(columns: Columns) -> Columns:
    return columns | {"prediction_time": columns["at"], "ink": columns["pixels"].mean(axis=1)}


def arrays(**changes: Any) -> ProblemSpec:
    """A problem without any look-up: an array and a number go in, a statistic is watched."""
    found = spec(pixels=PIXELS)
    return ProblemSpec.model_validate(
        found.model_dump()
        | {
            "lookups": {},
            "features": {"pixels": {"kind": "array", "size": 4}, "size": {"kind": "number"}},
            "slices": [],
            "monitor": {"statistics": ["ink"]},
            **changes,
        }
    )


def made(given: ProblemSpec, targets: list[Any]) -> pd.DataFrame:
    problem = Problem(given)
    problem.__dict__["data"] = SimpleNamespace()  # no function for look-ups either
    problem.__dict__["features"] = SimpleNamespace(features=derive)
    tables = partition(date(2013, 4, 1), rows=len(targets))
    pixels = [[[i, 1], [2, 3]] for i in range(len(targets))]
    labels = tables["labels"].assign(**{given.target: targets, "partition": date(2013, 4, 2)})
    return features.table(problem, {"events": tables["events"].assign(pixels=pixels), "labels": labels})


def test_a_problem_without_look_ups_has_a_table_with_arrays_and_statistics(tmp_path: Path) -> None:
    frame = made(arrays(), [0.0, 1.0, 1.0])
    assert list(frame) == ["_id", "_day", "_known_on", "_cluster", "late", "pixels", "size", "ink"]
    assert frame["ink"].tolist() == [1.5, 1.75, 2.0]
    frame.to_parquet(tmp_path / "features.parquet")
    X = features.inputs(arrays(), pd.read_parquet(tmp_path / "features.parquet"))
    assert {name: (v.shape, v.dtype) for name, v in X.items()} == {
        "pixels": ((3, 4), np.float32),
        "size": ((3,), np.float32),
    }
    assert X["pixels"][2].tolist() == [2, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "targets", "wanted"),
    [
        ({"classes": ["no", "yes"]}, ["yes", "no"], [1.0, 0.0]),
        ({"task": "multiclass", "classes": ["0", "1", "2"], "gate": {"metric": "accuracy"}}, [2, 0], [2.0, 0.0]),
        ({"task": "regression", "gate": {"metric": "mae"}}, [-1.5, 300.0], [-1.5, 300.0]),
    ],
)
def test_the_target_is_a_number_whatever_the_source_calls_it(
    changes: dict[str, Any], targets: list[Any], wanted: list[float]
) -> None:
    assert made(arrays(**changes), targets)["late"].tolist() == wanted


def test_rows_belong_together_by_the_cluster_that_the_problem_names_or_by_day() -> None:
    assert made(arrays(), [0.0, 1.0])["_cluster"].unique().tolist() == [pd.Timestamp("2013-04-01")]
    assert made(arrays(cluster="who"), [0.0, 1.0])["_cluster"].unique().tolist() == ["a"]


def test_without_a_good_day_the_error_says_where_to_look() -> None:
    with pytest.raises(DataError, match=r"no good day has events and labels; data/validation\.json says"):
        features.table(Problem(arrays()), {})
