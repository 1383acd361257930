"""In which format a column holds moments, if it does. Reading them is core.tables' business."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import pandas as pd

from core.tables import EPOCHS, ISO, NATIVE, moments, numbers, texts

READ_SHARE = 0.98  # of the values must be read for a column to count as moments
SAMPLE = 200
DATES = [
    *(["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d"]),
    *(["%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%Y", "%d-%b-%y"]),
    *(["%d %B %Y", "%d %b %Y", "%b %d %Y", "%B %d %Y", "%a %d %b %Y", "%A %d %B %Y", "%b %Y", "%B %Y"]),
    *(["%b %d, %Y", "%B %d, %Y", "%a, %d %b %Y", "%A, %B %d, %Y"]),
]
TIMES = ["", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H%M", "%H%M%S", "%H.%M"]
JOINTS, ZONES = [" ", "T", ", "], ["", "%z", " %z", " UTC", " GMT"]
ISO_LIKE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
NAMED = re.compile(
    r"(^|_|\b|[a-z])(date|time|timestamp|ts|epoch|unix|datum|zeit|fecha|created|updated|when|at)($|_|\b)", re.I
)
SINCE_S, UNTIL_S = 631_152_000, 4_102_444_800  # 1990 and 2100 in unix seconds


@dataclass(frozen=True)
class Form:
    """How a column's moments are written, as core.tables.moments takes it, and what was not sure."""

    form: str
    doubt: str = ""


def form_of(values: pd.Series, name: str, asked: bool = False) -> Form | None:
    """The format of a column, or None when it holds no moments. `asked`: the user says that it does."""
    there = values.dropna()
    if not len(there):
        return None
    if pd.api.types.is_datetime64_any_dtype(there) or _are_dates(there):
        return Form(NATIVE)
    if pd.api.types.is_bool_dtype(there) or (pd.api.types.is_float_dtype(there) and not (there % 1 == 0).all()):
        return None
    written = texts(there).dropna().astype("str").str.strip()
    if written.str.fullmatch(r"\d+(\.0+)?").mean() > READ_SHARE:
        return _of_digits(values, written, asked or bool(NAMED.search(name)))
    return _of_texts(values, written)


def _of_digits(values: pd.Series, written: pd.Series, named: bool) -> Form | None:
    """20130401 is a date; unix time is one only under a name that says so, since a price may look the same."""
    if written.str.fullmatch(r"(19|20)\d{6}").all() and _reads(values, "%Y%m%d"):
        return Form("%Y%m%d")
    for form, digits in (("%Y%m%d%H%M%S", 12), ("%Y%m%d%H%M", 10)):
        if written.str.fullmatch(rf"(19|20)\d{{{digits}}}").all() and _reads(values, form):
            return Form(form)
    for form in EPOCHS if named else ():
        seconds = numbers(values) / (1000 if form == "unix ms" else 1)
        if seconds.dropna().between(SINCE_S, UNTIL_S).all():
            return Form(form)
    return None


def _of_texts(values: pd.Series, written: pd.Series) -> Form | None:
    if written.map(lambda text: bool(ISO_LIKE.fullmatch(text))).mean() > READ_SHARE:
        return Form(ISO) if _reads(values, ISO) else None
    sample = written.drop_duplicates().head(SAMPLE).tolist()
    fitting = [form for form in _forms(sample[0]) if _fits(sample, form) and _reads(values, form)]
    if not fitting:
        return None
    best = min(fitting, key=lambda form: _span(values, form))
    other = next((form for form in fitting if form != best and _span(values, form) != _span(values, best)), None)
    return Form(best, f"{other} fits as well, over a longer span" if other else "")


def _forms(text: str) -> Iterator[str]:
    """The formats that read this one text."""
    for date, time, joint, zone in product(DATES, TIMES, JOINTS, ZONES):
        form = date + (joint + time + zone if time else "")
        if (time or (joint, zone) == (JOINTS[0], "")) and _alike(text, form) and _fits([text], form):
            yield form


def _alike(text: str, form: str) -> bool:
    """Cheap reasons against a format: marks, colons or letters that only one of the two has."""
    zone = "%z" in form
    bare = re.sub(r"[+-]\d\d:?\d\d$|Z$", "", text) if zone else text
    marks = re.sub(r"%.", "", form)
    letters = bool(re.search("%[bBaAp]", form)) or "UTC" in form or "GMT" in form
    same_marks = all((mark in bare) == (mark in marks) for mark in "/.,-T" if mark != "T" or not letters)
    return same_marks and bare.count(":") == marks.count(":") and letters == bool(re.search("[a-zA-Z]{2}", bare))


def _fits(sample: list[str], form: str) -> bool:
    read = 0
    for text in sample:
        try:
            datetime.strptime(text, form)
        except ValueError:
            continue
        read += 1
    return read >= READ_SHARE * len(sample)


def _reads(values: pd.Series, form: str) -> bool:
    return bool(moments(values, form).notna().sum() >= READ_SHARE * values.notna().sum())


def _span(values: pd.Series, form: str) -> tuple[int, bool]:
    """Of two orders of day and month the right one gives the shorter span, and rows that lie in order."""
    found = moments(values, form).dropna()
    return (found.max() - found.min()).days // 31, not found.is_monotonic_increasing


def _are_dates(values: pd.Series) -> bool:
    from datetime import date

    return values.dtype == object and all(isinstance(value, date) for value in values.head(SAMPLE))
