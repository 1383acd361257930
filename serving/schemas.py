"""A request as pydantic types, made from the problem's schema. Nothing is parsed here.

A row is a TypedDict: its keys may be any column's name, also those that a model's attributes have (`schema`, `json`).
"""

from datetime import datetime
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from core.schema import LARGEST, LONGEST, Column, ProblemSpec, Value
from serving.arrays import array_type

MAX_ROWS = 10_000
TEXT = StringConstraints(min_length=1, max_length=LONGEST, pattern=r"^[^\x00-\x1f]*$")


def row_type(spec: ProblemSpec) -> Any:
    """The TypedDict of one request row: the problem's columns and, all optional, the values of its look-ups."""
    fields = {name: _column(column) for name, column in spec.columns.items()}
    for lookup, about in spec.lookups.items():
        fields |= {name: _value(value, lookup) for name, value in about.values.items()}
    config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": example(spec)})
    made = TypedDict(f"{_title(spec.name)}Row", fields)  # type: ignore[misc]  # its fields are data
    row: Any = made
    row.__doc__, row.__pydantic_config__ = spec.question, config
    return row


def batch_model(spec: ProblemSpec, row: Any) -> type[BaseModel]:
    """The model of a batch, for the documentation: `parsing` reads batches piece by piece."""
    rows = (list[row], Field(min_length=1, max_length=MAX_ROWS, description="One to ten thousand rows."))
    config = ConfigDict(extra="forbid", json_schema_extra={"example": {"rows": [example(spec)]}})
    model: type[BaseModel] = create_model(f"{_title(spec.name)}Batch", __config__=config, rows=rows)
    return model


def example(spec: ProblemSpec) -> dict[str, Any]:
    """A row that is answered. Arrays are flat."""
    return {name: _array_example(column) or column.example for name, column in spec.columns.items()}


def _column(column: Column) -> Any:
    kind: Any
    if column.type == "datetime":
        text = BeforeValidator(_is_dated_text(str(column.example)))
        kind = Annotated[datetime, Field(strict=False), text, AfterValidator(_has_offset(str(column.example)))]
    elif column.type == "number":
        kind = _number(column)
    elif column.type == "array":
        return Annotated[array_type(column, *_bounds(column)), Field(description=_described(column))]
    else:
        kind = Annotated[str, TEXT]
    about = Field(description=_described(column), examples=[column.example])
    return NotRequired[Annotated[kind | None, about]] if column.optional else Annotated[kind, about]


def _value(value: Value, lookup: str) -> Any:
    note = f"{_described(value)} Leave it out: the server knows it (look-up `{lookup}`). Sent, it is used instead."
    return NotRequired[Annotated[_number(value) | None, Field(description=note)]]


def _number(item: Column | Value) -> Any:
    low, high = _bounds(item)
    return Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)]


def _bounds(item: Column | Value) -> tuple[float, float]:
    return -LARGEST if item.min is None else item.min, LARGEST if item.max is None else item.max


def _array_example(column: Column) -> list[float]:
    """As many of the number nearest to 0 that is allowed."""
    low, high = _bounds(column)
    return [min(max(0, low), high)] * column.size if column.type == "array" else []


def _described(item: Column | Value) -> str:
    text = item.description.rstrip(".")
    return f"{text} ({item.unit})." if item.unit else f"{text}."


def _is_dated_text(example: str) -> Any:
    """Refuses numbers, and texts of numbers: pydantic would take them for seconds since 1970."""

    def check(value: Any) -> Any:
        if not (isinstance(value, str) and value[4:5] == value[7:8] == "-"):
            raise _datetime_expected(example)
        return value

    return check


def _has_offset(example: str) -> Any:
    def check(value: datetime) -> datetime:
        if value.utcoffset() is None:
            raise _datetime_expected(example)
        return value

    return check


def _datetime_expected(example: str) -> PydanticCustomError:
    message = "expected a date and time with a UTC offset, such as {example}"
    return PydanticCustomError("utc_offset_expected", message, {"example": example})


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
