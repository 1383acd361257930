"""Who may see which rows: an event counts by its own day and by the day its label became known."""

from datetime import date

import pandas as pd

from pipeline.features import holdout_rows, training_rows
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
