"""What each column of a table holds: numbers, categories, moments or text; and how its numbers are written."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.errors import DataError
from core.tables import moments, numbers, texts
from pipeline.onboarding.moments import Form, form_of

Kind = Literal["number", "category", "datetime", "text", "constant", "empty", "nested"]
MOST_CATEGORIES = 200
UNIQUE_SHARE = 0.5  # of the rows: more different texts than this are no categories
LONG_TEXT = 60  # characters, on average, of a free text
NUMBER_SHARE = 0.98  # of the values must be read for a column to count as numbers
FILLERS = ("?", "-", "--", ".", "..", "*", "unknown", "missing", "n.a.", "N.A.", "na.", "\\N")
ID_NAME = re.compile(
    r"(^|[_\W])(id|uid|uuid|guid|key|idx|index|nr|no|number|code|rowid|serial)$|[a-z]Id$|^Unnamed: \d+$", re.I
)


@dataclass(frozen=True)
class Column:
    """One column of the table. `values` are typed: float64, text, or moments (datetime64, UTC); missing is missing."""

    source: str
    name: str
    kind: Kind
    values: pd.Series
    form: Form | None = None  # of a datetime

    @property
    def missing(self) -> float:
        """Share of the rows."""
        return float(self.values.isna().mean())

    @property
    def distinct(self) -> int:
        return int(self.values.nunique())

    @property
    def example(self) -> Any:
        """The commonest category; of numbers and moments one in the middle."""
        there = self.values.dropna()
        if self.kind in ("number", "datetime"):
            return there.sort_values(kind="stable").iloc[len(there) // 2]
        return there.mode().iloc[0]

    @property
    def looks_like_an_id(self) -> bool:
        """Almost every row has its own value, and name or values are those of a running number or a key."""
        there = self.values.dropna()
        if self.kind not in ("number", "text", "category") or there.nunique() < 0.95 * len(there) or len(there) < 20:
            return False
        if self.kind == "number":
            whole = bool((there % 1 == 0).all())
            return whole and (bool(ID_NAME.search(self.source)) or set(np.diff(there.to_numpy())) <= {1.0})
        return bool(ID_NAME.search(self.source)) or not there.str.contains(r"\s").mean() > 0.2


def decimal_mark(frame: pd.DataFrame) -> str:
    """A comma, when columns read as numbers with it and not with a point."""
    held = [texts(values).dropna().head(2000) for _, values in frame.items() if _is_text(values)]
    commas = sum(bool(len(v)) and v.str.fullmatch(r"-?\d+,\d+").mean() > 0.2 and _share(v, ",") for v in held)
    points = sum(bool(len(v)) and v.str.fullmatch(r"-?\d+\.\d+").mean() > 0.2 and _share(v, ".") for v in held)
    thousands = sum(bool(len(v)) and v.str.fullmatch(r"-?\d{1,3}(,\d{3})*(,\d{3})").mean() > 0.2 for v in held)
    return "," if commas > points + thousands else "."


def fillers(frame: pd.DataFrame, decimal: str) -> list[str]:
    """Marks such as ? that stand for a missing value among numbers."""
    found: set[str] = set()
    for _, values in frame.items():
        if _is_text(values):
            there = texts(values).dropna()
            odd = there[numbers(there, decimal).isna()].str.strip()
            if len(odd) and len(odd) < 0.9 * len(there) and odd.isin(FILLERS).all():
                found |= set(there[odd.index].unique())
    return sorted(found)


def look(source: str, name: str, values: pd.Series, decimal: str, asked: str = "") -> Column:
    """What the column holds. `asked`: time when the user says that it is a moment, id when it is an id."""
    if len(values.dropna()) and isinstance(values.dropna().iloc[0], (list, dict, np.ndarray)):
        return Column(source, name, "nested", values)
    if not texts(values).notna().any():
        return Column(source, name, "empty", values)
    if (form := form_of(values, source, asked == "time")) and asked != "id":
        return Column(source, name, "datetime", moments(values, form.form), form)
    kind, read = _number(values, decimal) if asked != "id" else (False, values)
    found = read if kind else texts(values)
    if found.nunique() == 1 and asked == "":
        return Column(source, name, "constant", found)
    return Column(source, name, "number" if kind else _text_kind(found), found)


def check(frame: pd.DataFrame) -> None:
    """Raises DataError for a table without rows or with one column."""
    if not len(frame) or len(frame.columns) < 2:
        raise DataError(f"the table has {len(frame)} rows and {len(frame.columns)} columns; is the separator odd?")


def _number(values: pd.Series, decimal: str) -> tuple[bool, pd.Series]:
    """Numbers; but codes with leading zeros are none, and neither are booleans."""
    if pd.api.types.is_bool_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
        return False, values
    if _is_text(values):
        there = texts(values).dropna().str.strip()
        if set(there.unique()) <= {"True", "False"} or there.str.fullmatch(r"0\d+").mean() > 0.1:
            return False, values
    read = numbers(values, decimal)
    return bool(read.notna().sum() >= NUMBER_SHARE * texts(values).notna().sum()), read


def _text_kind(found: pd.Series) -> Kind:
    there = found.dropna()
    many = there.nunique() > MOST_CATEGORIES or (there.nunique() > 20 and there.nunique() > UNIQUE_SHARE * len(there))
    return "text" if many or there.str.len().mean() > LONG_TEXT or there.str.len().max() > 200 else "category"


def _is_text(values: pd.Series) -> bool:
    return bool(pd.api.types.is_string_dtype(values) or values.dtype == object)


def _share(values: pd.Series, decimal: str) -> bool:
    return bool(numbers(values, decimal).notna().mean() > NUMBER_SHARE)
