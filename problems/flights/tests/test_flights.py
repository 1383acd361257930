"""The default problem: its clock, its look-ups, its features, and the study that justifies them."""

import io
import json
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import OrdinalEncoder

from core.clock import cutoff
from core.columns import from_frame, from_rows, to_rows
from core.errors import DataError
from core.lookups import join
from pipeline.features import DAY, build_lookups, features, table, training_rows
from pipeline.raw import PARTITION
from problems import load
from problems.flights import data

Tables = dict[str, pd.DataFrame]
FLIGHTS = load("flights")
SPEC = FLIGHTS.spec
FIRST, LAST = date(2013, 1, 1), date(2013, 12, 31)


def read(first: date, last: date) -> Tables:
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    parts = [{name: frame.assign(partition=day) for name, frame in data.partition(day).items()} for day in days]
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in data.TABLES}


@pytest.fixture(scope="module")
def year() -> Tables:
    return read(FIRST, LAST)


@pytest.fixture(scope="module")
def spring() -> Tables:
    """January to April, what the study needs."""
    return read(FIRST, date(2013, 4, 30))


def test_partitions_made_twice_are_the_same_bytes() -> None:
    def written() -> dict[str, bytes]:
        data._source.cache_clear()
        files = {name: io.BytesIO() for name in data.TABLES}
        for name, frame in data.partition(date(2013, 3, 10)).items():
            frame.to_parquet(files[name], index=False)
        return {name: file.getvalue() for name, file in files.items()}

    assert written() == written()


def test_a_day_outside_the_data_is_refused_and_the_error_names_the_days_there_are() -> None:
    assert data.covers(LAST)
    assert not data.covers(date(2014, 1, 1))
    with pytest.raises(DataError, match="from 2013-01-01 to 2013-12-31"):
        data.partition(date(2014, 1, 1))


def test_an_event_has_the_columns_of_a_request_and_an_id_of_its_own(year: Tables) -> None:
    offsets = {f"{name}_utc_offset" for name in SPEC.datetimes}
    assert set(year["events"]) == {*SPEC.columns, *offsets, PARTITION}
    assert len(year["events"]) == 336_776
    assert year["events"][SPEC.id].is_unique


def test_labels_and_weather_are_in_the_partition_in_which_they_became_known(year: Tables) -> None:
    opens = {day: pd.Timestamp(cutoff(SPEC.clock, day)) for day in year["events"][PARTITION].unique()}
    closes = {day: pd.Timestamp(cutoff(SPEC.clock, day + timedelta(days=1))) for day in opens}
    labels, weather = year["labels"], year["weather"]
    for known, partition in (
        (labels["label_time"], labels[PARTITION]),
        (weather["hour"] + pd.Timedelta(hours=1), weather[PARTITION]),
    ):
        assert (known >= partition.map(opens)).all()
        assert (known < partition.map(closes)).all()


def test_a_cancelled_flight_is_an_event_and_never_gets_a_label(year: Tables) -> None:
    raw = pd.read_csv(data._folder() / "flights.csv.zip", usecols=["month", "day", "carrier", "flight", "arr_delay"])
    cancelled = raw[raw["arr_delay"].isna()]
    assert len(year["events"]) - len(cancelled) - len(year["labels"]) in range(40)  # landed after the last cut-off
    storm = cancelled[(cancelled["month"] == 2) & (cancelled["day"] == 8)]
    flight = storm["carrier"] + storm["flight"].astype("str")
    events = year["events"][year["events"][PARTITION] == date(2013, 2, 8)]
    of_storm = events[events["flight"].isin(flight)]
    assert len(of_storm) == len(storm) > 400
    assert not of_storm[SPEC.id].isin(year["labels"][SPEC.id]).any()


def test_an_impossible_wind_stays_in_the_raw_table_and_is_missing_in_the_lookup(year: Tables) -> None:
    assert year["weather"]["wind_speed"].max() > 1000
    assert data.lookups(year)["weather"]["wind_speed"].max() < 100


def test_no_lookup_row_is_used_before_it_is_available_or_after_its_tolerance(spring: Tables) -> None:
    columns = FLIGHTS.features.features(from_frame(SPEC, spring["events"]))
    at = columns["prediction_time"]
    _, used = join(columns, at, SPEC.lookups, build_lookups(FLIGHTS, spring))
    for name, lookup in SPEC.lookups.items():
        age_h = (at - used[name])[~np.isnat(used[name])] / np.timedelta64(1, "h")
        assert age_h.min() >= 0, name
        assert age_h.max() <= lookup.tolerance_h, name
        assert np.isnat(used[name]).mean() < 0.1, name  # the first week has no rates


def test_weather_of_an_hour_is_available_from_the_next_hour_on(spring: Tables) -> None:
    found = data.lookups(spring)["weather"].assign(hour=lambda f: f["available_at"] - pd.Timedelta(hours=1))
    both = found.merge(spring["weather"], on=["origin", "hour"], suffixes=("", "_raw"))
    assert len(both) == len(found)
    pd.testing.assert_series_equal(both["dewp"], both["dewp_raw"], check_names=False)


def test_what_is_learnt_after_a_prediction_does_not_change_its_inputs(spring: Tables) -> None:
    today, noon = date(2013, 4, 10), pd.Timestamp("2013-04-10T16:00")
    events = spring["events"][spring["events"][PARTITION] == today]
    events = events[events["sched_dep"] - pd.Timedelta(minutes=60) <= noon]
    known = {
        "events": spring["events"],
        "labels": spring["labels"][spring["labels"]["label_time"] < pd.Timestamp(cutoff(SPEC.clock, today))],
        "weather": spring["weather"][spring["weather"]["hour"] + pd.Timedelta(hours=1) <= noon],
        "schedule": spring["schedule"][spring["schedule"][PARTITION] < today],
    }
    then = features(FLIGHTS, from_frame(SPEC, events), build_lookups(FLIGHTS, known))
    later = features(FLIGHTS, from_frame(SPEC, events), build_lookups(FLIGHTS, spring))
    pd.testing.assert_frame_equal(pd.DataFrame(then), pd.DataFrame(later))
    assert pd.DataFrame(then).drop(columns="wind_gust").notna().mean().min() > 0.8


def test_rates_are_shrunken_shares_of_the_flights_whose_outcome_last_night_knew(spring: Tables) -> None:
    day = pd.Timestamp("2013-03-09")
    labels = spring["labels"][spring["labels"]["label_time"] < pd.Timestamp(cutoff(SPEC.clock, day.date()))]
    flights = spring["events"].merge(labels.drop(columns=PARTITION), on=SPEC.id)
    week = flights[pd.to_datetime(flights[PARTITION]).between(day - pd.Timedelta(days=7), day - pd.Timedelta(days=1))]
    mine = week[week["carrier"] == "EV"]["late"]
    expected = (mine.sum() + 20 * week["late"].mean()) / (len(mine) + 20)

    rates = data.lookups(spring)["carrier"]
    at_cutoff = rates["available_at"] == pd.Timestamp(cutoff(SPEC.clock, day.date()))
    assert rates[at_cutoff & (rates["carrier"] == "EV")]["h7_carrier"].item() == pytest.approx(expected)


def test_a_lookup_row_is_the_same_whatever_span_it_is_made_from_and_serves_the_day_after(spring: Tables) -> None:
    whole = data.lookups(spring)
    for name, part in data.lookups(read(date(2013, 3, 20), date(2013, 3, 31))).items():
        keys = [*SPEC.lookups[name].keys, "available_at"]
        same = part.merge(whole[name], on=keys, suffixes=("", "_whole"))
        assert len(same) == len(part) > 0
        for value in SPEC.lookups[name].values:
            np.testing.assert_allclose(same[value], same[f"{value}_whole"], rtol=1e-5, atol=1e-6)
        if SPEC.lookups[name].feed == "nightly":
            assert part["available_at"].max() == pd.Timestamp(cutoff(SPEC.clock, date(2013, 4, 1)))


def test_a_request_and_the_table_give_a_model_the_same_inputs(spring: Tables) -> None:
    lookups = build_lookups(FLIGHTS, spring)
    flights = spring["events"].iloc[-400:]
    requests = json.loads(json.dumps(to_rows(SPEC, flights)))
    for row in requests:
        row.update({name: datetime.fromisoformat(row[name]) for name in SPEC.datetimes})
    from_table = features(FLIGHTS, from_frame(SPEC, flights), lookups)
    one_by_one = [features(FLIGHTS, from_rows(SPEC, [row]), lookups) for row in requests]
    for name, column in from_table.items():
        assert pd.Series(np.concatenate([row[name] for row in one_by_one])).equals(pd.Series(column)), name


def test_derived_columns_follow_the_local_clocks() -> None:
    flight = {name: column.example for name, column in SPEC.columns.items()}
    flight |= {name: datetime.fromisoformat(str(flight[name])) for name in SPEC.datetimes}
    derived = FLIGHTS.features.features(from_rows(SPEC, [flight]))
    assert [derived[name].item() for name in ("dep_min", "arr_min", "sched_block", "dow")] == [405, 571, 226, 0]
    assert derived["prediction_time"] == np.datetime64("2013-04-01T09:45", "s")
    assert (derived["dep_hour"].item(), derived["dep_hour_utc"].item()) == ("6", "2013-04-01T10")


def test_the_study_a_model_of_the_first_quarter_is_of_use_in_april(spring: Tables) -> None:
    rows = table(FLIGHTS, spring)
    categories = [name for name, feature in SPEC.features.items() if feature.kind == "category"]
    inputs = [*SPEC.features]
    rows[categories] = OrdinalEncoder().fit_transform(rows[categories])
    train, april = training_rows(rows, date(2013, 4, 1)), rows[rows[DAY] >= "2013-04-01"]
    model = HistGradientBoostingClassifier(
        **SPEC.candidates["hgb"],
        categorical_features=categories,
        monotonic_cst={name: feature.monotone for name, feature in SPEC.features.items()},
        random_state=0,
    ).fit(train[inputs], train["late"])
    predicted = model.predict_proba(april[inputs])[:, 1]
    assert len(train) == 77_910
    assert roc_auc_score(april["late"], predicted) >= 0.69
    assert log_loss(april["late"], predicted) <= 0.565
