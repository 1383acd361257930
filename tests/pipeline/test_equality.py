"""One feature code: what the server computed from raw requests is what training computes from tables."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from core import predictions
from core.columns import from_frame
from core.database import connect
from core.lookups import join
from pipeline import publish, raw, replay
from pipeline.features import build_lookups, features
from problems import load
from tests.pipeline.conftest import AS_OF
from tests.serving.models import bundle
from tests.serving.process import ServerProcess
from tests.serving.registry import FakeRegistry

DAY = AS_OF  # the first day that a model of this night answers
FLIGHTS = load("flights")


def tables(first: date, last: date) -> dict[str, pd.DataFrame]:
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    parts = [{n: f.assign(partition=day) for n, f in FLIGHTS.data.partition(day).items()} for day in days]
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FakeRegistry]:
    fake = FakeRegistry("flights")
    fake.register("1", bundle(FLIGHTS.spec, tmp_path / "bundle"))
    fake.release("1")
    yield fake
    fake.close()


def test_a_day_of_features_is_the_same_offline_and_through_the_server(
    registry: FakeRegistry, store_url: str, tmp_path: Path
) -> None:
    engine = connect(store_url)
    publish.nightly(engine, FLIGHTS, tables(DAY - timedelta(days=9), DAY - timedelta(days=1)), DAY)
    server = ServerProcess(tmp_path / "home", registry.url, store_url)
    try:
        server.ready()
        traffic = replay.replay(engine, FLIGHTS, server.url, DAY)
    finally:
        server.stop()
    assert traffic.failures == []

    events = FLIGHTS.data.partition(DAY)[raw.EVENTS].sort_values("flight_id", ignore_index=True)
    columns = from_frame(FLIGHTS.spec, events)
    lookups = build_lookups(FLIGHTS, tables(DAY - timedelta(days=12), DAY))  # from another span of partitions
    offline = pd.DataFrame(features(FLIGHTS, columns, lookups))
    derived = FLIGHTS.features.features(columns)
    _, used = join(derived, derived["prediction_time"], FLIGHTS.spec.lookups, lookups)

    with engine.connect() as connection:
        logged = connection.execute(select(predictions.PREDICTIONS).order_by("event_id")).mappings().all()
    engine.dispose()
    assert [row["event_id"] for row in logged] == events["flight_id"].tolist()
    served = pd.DataFrame([row["features"] for row in logged])
    assert list(served) == list(offline)
    for name, feature in FLIGHTS.spec.features.items():
        kind = np.float32 if feature.kind == "number" else object
        np.testing.assert_array_equal(served[name].to_numpy(kind), offline[name].to_numpy(kind), err_msg=name)

    as_of = pd.DataFrame([row["as_of"] for row in logged]).apply(pd.to_datetime)
    for name, times in used.items():
        found = as_of[name].dt.tz_localize(None).to_numpy("datetime64[s]")
        np.testing.assert_array_equal(found, times, err_msg=name)
        assert not (found > derived["prediction_time"]).any(), f"{name} peeks"
    found_at_all = 1 - served[[n for n, f in FLIGHTS.spec.features.items() if f.kind == "number"]].isna().mean()
    assert (found_at_all.drop("wind_gust") > 0.7).all(), "too much is missing to have shown anything"
