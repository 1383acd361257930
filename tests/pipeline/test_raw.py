"""Raw partitions: each day once, a changed day as a new version, and a data version that depends on content alone."""

import logging
import random
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, select

from core import lineage, predictions
from core.database import connect
from core.errors import DataError
from core.schema import ProblemSpec
from pipeline import daily, publish, raw
from pipeline.raw import Ingested
from problems import Problem
from tests.pipeline.test_validate import partition
from tests.toy import spec

AS_OF = date(2013, 5, 10)
DAYS = [AS_OF - timedelta(days=n) for n in range(40, 0, -1)]


def no_lookups(_: Any) -> dict[str, pd.DataFrame]:
    columns: dict[str, Any] = {"who": ["a"], "available_at": pd.to_datetime(["2013-05-09"]), "rain": [1.0]}
    return {"weather": pd.DataFrame(columns)}


class Toy:
    """A problem whose source can be changed."""

    def __init__(self) -> None:
        self.problem = Problem(spec())
        self.changes: dict[date, Any] = {}
        source = SimpleNamespace(covers=lambda day: day in DAYS, partition=self.partition, lookups=no_lookups)
        self.problem.__dict__["data"] = source

    def partition(self, day: date) -> dict[str, pd.DataFrame]:
        tables = partition(day, rows=6)
        return self.changes[day](tables) if day in self.changes else tables


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def remote(tmp_path: Path) -> str:
    return str(tmp_path / "remote")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return connect(f"sqlite:///{tmp_path / 'loop.db'}")


def larger(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return tables | {"events": tables["events"].assign(size=6.0)}


def test_the_same_days_again_change_nothing(engine: Engine, toy: Toy, remote: str) -> None:
    assert raw.ingest(engine, toy.problem, remote, DAYS) == Ingested(new=DAYS, changed=[])
    before = raw.data_version(engine, toy.problem, remote, AS_OF)
    assert raw.ingest(engine, toy.problem, remote, DAYS) == Ingested([], [])
    assert raw.data_version(engine, toy.problem, remote, AS_OF) == before
    assert raw.ingest(engine, toy.problem, remote, []) == Ingested([], [])


def test_a_day_whose_rows_changed_makes_a_new_version_says_so_and_keeps_the_old_one(
    engine: Engine, toy: Toy, remote: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw.ingest(engine, toy.problem, remote, DAYS)
    before = raw.data_version(engine, toy.problem, remote, AS_OF)
    toy.changes[DAYS[20]] = larger
    with caplog.at_level(logging.WARNING):
        assert raw.ingest(engine, toy.problem, remote, DAYS) == Ingested(new=[], changed=[DAYS[20]])
    assert f"partition {DAYS[20]} of toy has other rows than before" in caplog.text
    after = raw.data_version(engine, toy.problem, remote, AS_OF)
    assert after["md5"] != before["md5"]
    sizes = {}
    for name, version in (("before", before), ("after", after)):
        lineage.pull(tmp_path / name, [version], remote)
        events = raw.read(tmp_path / name / lineage.RAW)["events"]
        sizes[name] = set(events.loc[events["partition"] == DAYS[20], "size"])
    assert sizes == {"before": {5.0}, "after": {6.0}}


def test_a_data_version_depends_on_content_alone(store_url: str, engine: Engine, toy: Toy, remote: str) -> None:
    """Not on the order of ingestion, nor on the kind of database, nor on days that came later."""
    raw.ingest(engine, toy.problem, remote, DAYS)
    wanted = raw.data_version(engine, toy.problem, remote, DAYS[37])
    other = connect(store_url.replace("loop.db", "other.db"))
    shuffled = random.Random(0).sample(DAYS, len(DAYS))
    for some in (shuffled[:15], shuffled[15:]):
        raw.ingest(other, toy.problem, remote, some)
    assert raw.data_version(other, toy.problem, remote, DAYS[37]) == wanted
    assert raw.data_version(other, toy.problem, remote, DAYS[38])["md5"] != wanted["md5"]
    other.dispose()


def test_too_few_days_are_an_error_that_says_how_many_are_needed(engine: Engine, toy: Toy, remote: str) -> None:
    raw.ingest(engine, toy.problem, remote, DAYS[:34])
    with pytest.raises(DataError, match="only 34 days of data before 2013-05-10; 28 to train and 7 to judge"):
        raw.data_version(engine, toy.problem, remote, AS_OF)


def test_missing_days_are_those_the_source_has_and_the_catalogue_has_not(engine: Engine, toy: Toy, remote: str) -> None:
    raw.ingest(engine, toy.problem, remote, DAYS[:5] + DAYS[6:])
    assert raw.missing_days(engine, toy.problem, date(2013, 1, 1), date(2013, 12, 31)) == [DAYS[5]]


def test_what_was_ingested_is_fetched_with_its_partition(engine: Engine, toy: Toy, remote: str) -> None:
    raw.ingest(engine, toy.problem, remote, DAYS)
    with raw.fetched(engine, toy.problem, remote, DAYS[3], DAYS[5]) as folder:
        tables = raw.read(folder, leave_out=frozenset({str(DAYS[4])}))
    assert sorted(set(tables["labels"]["partition"])) == [DAYS[3], DAYS[5]]
    with (
        pytest.raises(DataError, match="no partition of toy between 2010-01-01"),
        raw.fetched(engine, toy.problem, remote, date(2010, 1, 1), date(2010, 1, 2)),
    ):
        pass


# the night ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def night(toy: Toy, monkeypatch: pytest.MonkeyPatch, store_url: str) -> Toy:
    monkeypatch.setenv("LOOP_DATABASE_URL", store_url)
    monkeypatch.setattr(daily, "load", lambda: toy.problem)
    return toy


def outcomes(url: str) -> dict[str, date]:
    engine = connect(url)
    with engine.connect() as connection:
        found = connection.execute(select(predictions.OUTCOMES)).mappings().all()
    engine.dispose()
    return {row["event_id"]: row["known_on"] for row in found}


def test_a_night_brings_partitions_and_labels_once(night: Toy, store_url: str) -> None:
    first = daily.ingest(AS_OF)
    assert first == {"partitions": 9, "lookup_rows": 1, "labels": 54}
    assert daily.ingest(AS_OF) == {"partitions": 0, "lookup_rows": 0, "labels": 0}
    assert outcomes(store_url)[f"{DAYS[-1]}-0"] == DAYS[-1]
    assert f"{DAYS[-10]}-0" not in outcomes(store_url)


def test_the_labels_of_a_quarantined_day_are_not_believed(night: Toy, store_url: str) -> None:
    bad = DAYS[-2]
    night.changes[bad] = lambda tables: tables | {"labels": tables["labels"].assign(late=7.0)}
    assert daily.ingest(AS_OF)["labels"] == 48
    assert bad not in outcomes(store_url).values()


def test_a_night_whose_days_are_all_bad_says_so(night: Toy) -> None:
    for day in DAYS:
        night.changes[day] = lambda tables: tables | {"labels": tables["labels"].assign(late=7.0)}
    with pytest.raises(DataError, match="every partition from 2013-05-01 to 2013-05-09 is quarantined"):
        daily.ingest(AS_OF)


def test_nights_after_days_that_the_source_does_not_have_are_quiet(
    night: Toy, store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    later = AS_OF + timedelta(days=9)
    assert daily.ingest(AS_OF + timedelta(days=4)) == {"partitions": 5, "lookup_rows": 0, "labels": 30}
    assert daily.ingest(later + timedelta(days=1)) == {"partitions": 0, "lookup_rows": 0, "labels": 0}
    assert "the source has no day from 2013-05-11 to 2013-05-19, a quiet night" in caplog.text
    assert len(outcomes(store_url)) == 30


def test_a_problem_without_look_ups_needs_no_function_for_them(night: Toy) -> None:
    bare = {"lookups": {}, "features": {}, "slices": []}
    night.problem = Problem(ProblemSpec.model_validate(spec().model_dump() | bare))
    night.problem.__dict__["data"] = SimpleNamespace(covers=lambda day: day in DAYS, partition=night.partition)
    assert daily.ingest(AS_OF) == {"partitions": 9, "lookup_rows": 0, "labels": 54}


def test_labels_mature_as_the_task_counts_them(night: Toy, store_url: str) -> None:
    night.problem = Problem(ProblemSpec.model_validate(spec().model_dump() | {"classes": ["no", "yes"]}))
    night.problem.__dict__["data"] = SimpleNamespace(
        covers=lambda day: day in DAYS, partition=night.partition, lookups=no_lookups
    )
    for day in DAYS:
        night.changes[day] = lambda t: t | {"labels": t["labels"].assign(late=["no", "yes", "no", "no", "no", "yes"])}
    daily.ingest(AS_OF)
    engine = connect(store_url)
    with engine.connect() as connection:
        found = connection.execute(select(predictions.OUTCOMES)).mappings().all()
    engine.dispose()
    assert [row["outcome"] for row in found if str(DAYS[-1]) in row["event_id"]] == [0, 1, 0, 0, 0, 1]


def test_a_table_that_some_days_have_not_and_others_have_empty_is_read_as_the_rest(
    engine: Engine, toy: Toy, remote: str
) -> None:
    extra = pd.DataFrame({"who": ["a"], "rain": [1.0]})
    toy.changes[DAYS[3]] = lambda tables: tables | {"weather": extra}
    toy.changes[DAYS[4]] = lambda tables: tables | {"weather": extra.head(0), "labels": tables["labels"].head(0)}
    raw.ingest(engine, toy.problem, remote, DAYS)
    with raw.fetched(engine, toy.problem, remote, DAYS[2], DAYS[5]) as folder:
        tables = raw.read(folder)
    assert tables["weather"][["who", "rain"]].to_dict("records") == [{"who": "a", "rain": 1.0}]
    assert sorted(set(tables["labels"]["partition"])) == [DAYS[2], DAYS[3], DAYS[5]]


def test_what_is_known_at_a_cut_off_is_published_with_both_nights() -> None:
    at = pd.to_datetime(["2013-05-08 03:59", "2013-05-08 04:00", "2013-05-08 12:00", "2013-05-09 04:00"])
    frame = pd.DataFrame({"available_at": at})
    since, until = at[1].to_datetime64(), at[3].to_datetime64()
    assert publish.between(frame, since, until).index.tolist() == [1, 2, 3]
