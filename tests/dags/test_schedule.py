"""Which day a run is about, and why it runs: by hand, by the monitor's wish, or because it is night."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from core.schema import Clock
from pipeline import schedule
from pipeline.schedule import lifecycle_job, monitor_job
from problems import Problem
from tests import toy

ASKED = {"as_of": "2013-04-20", "reasons": ["calibration is off", "it rains"]}


def context(
    as_of: str | None = None, logical: datetime | None = None, events: list[dict[str, Any]] | None = None
) -> Any:
    run = SimpleNamespace(run_id="run 1", logical_date=logical, run_after=datetime(2026, 11, 21, 9, 45, tzinfo=UTC))
    happened = {"an asset": [SimpleNamespace(extra=extra) for extra in events or []]}
    return {"params": {"as_of": as_of}, "dag_run": run, "triggering_asset_events": happened}


def test_a_nightly_run_is_about_its_logical_date_in_the_year_that_is_replayed() -> None:
    job = lifecycle_job(context(logical=datetime(2028, 3, 1, 4, 45, tzinfo=UTC)))  # still February in New York
    assert job == {"lifecycle": "run 1", "as_of": "2013-02-28", "reason": "nightly"}


def test_a_run_by_hand_is_about_the_day_it_was_asked_for() -> None:
    job = lifecycle_job(context(as_of="2013-04-01", logical=datetime(2028, 2, 29, 4, tzinfo=UTC), events=[ASKED]))
    assert (job["as_of"], job["reason"]) == ("2013-04-01", "asked for by hand")


def test_a_run_that_the_monitor_asked_for_is_about_the_monitors_day() -> None:
    job = lifecycle_job(context(events=[ASKED]))
    assert (job["as_of"], job["reason"]) == ("2013-04-20", "monitor: calibration is off; it rains")


def test_of_several_wishes_the_newest_counts_and_one_without_a_day_is_none() -> None:
    older, empty = {"as_of": "2013-04-19", "reasons": ["old"]}, {}
    assert lifecycle_job(context(events=[ASKED, older, empty]))["as_of"] == "2013-04-20"
    assert lifecycle_job(context(events=[empty]))["as_of"] == "2013-11-21"


def test_the_monitor_needs_no_logical_date() -> None:
    assert monitor_job(context())["as_of"] == "2013-11-21"


def test_a_table_that_has_stopped_growing_is_judged_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Problem(toy.spec().model_copy(update={"clock": Clock(latest=date(2021, 6, 30))}))
    monkeypatch.setattr(schedule, "load", lambda: ended)
    assert monitor_job(context())["as_of"] == "2021-06-30"


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="day is out of range"):
        monitor_job(context(as_of="2013-02-30"))
