"""Requests and responses as pydantic models, a request's made from the problem's schema. Nothing is parsed here."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model
from pydantic_core import PydanticCustomError

from core.schema import Column, ProblemSpec, Value

MAX_ROWS = 10_000
LARGEST = 1e12  # of a number that problem.yaml sets no bound for: finite as float32 and after scaling, too
TEXT = StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")


class Prediction(BaseModel):
    """The answer for one row."""

    prediction_id: str = Field(description="Unique; the prediction log's key.")
    event_id: str = Field(description="The event that was asked about.")
    probability: float = Field(ge=0, le=1, description="Probability of the positive class.")
    model_version: str = Field(description="Version in the registry of the model that answered.")
    role: str = Field(description="`champion` or `canary`.")
    missing: list[str] = Field(description="Numeric features that were absent or stale.")
    unknown: list[str] = Field(description="Category features whose value was not seen in training.")


class Predictions(BaseModel):
    """The answers, in the order of the rows."""

    predictions: list[Prediction]


def row_model(spec: ProblemSpec) -> type[BaseModel]:
    """The model of one request row: the problem's columns and, all optional, the values of its look-ups."""
    fields: dict[str, Any] = {name: _column(column) for name, column in spec.columns.items()}
    for lookup, about in spec.lookups.items():
        fields |= {name: _value(value, lookup) for name, value in about.values.items()}
    config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"example": example(spec)})
    model: type[BaseModel] = create_model(f"{_title(spec.name)}Row", __doc__=spec.question, __config__=config, **fields)
    return model


def batch_model(spec: ProblemSpec, row: type[BaseModel]) -> type[BaseModel]:
    """The model of a batch, for the documentation: `parsing` reads batches piece by piece."""
    rows = (list[row], Field(min_length=1, max_length=MAX_ROWS, description="One to ten thousand rows."))  # type: ignore[valid-type]
    config = ConfigDict(extra="forbid", json_schema_extra={"example": {"rows": [example(spec)]}})
    model: type[BaseModel] = create_model(f"{_title(spec.name)}Batch", __config__=config, rows=rows)
    return model


def example(spec: ProblemSpec) -> dict[str, Any]:
    return {name: column.example for name, column in spec.columns.items()}


def _column(column: Column) -> Any:
    kind: Any
    if column.type == "datetime":
        text = BeforeValidator(_is_text(str(column.example)))
        kind = Annotated[datetime, Field(strict=False), text, AfterValidator(_has_offset(str(column.example)))]
    elif column.type == "number":
        kind = _number(column)
    else:
        kind = Annotated[str, TEXT]
    default, kind = (None, kind | None) if column.optional else (..., kind)
    return (kind, Field(default, description=_described(column), examples=[column.example]))


def _value(value: Value, lookup: str) -> Any:
    note = f"{_described(value)} Leave it out: the server knows it (look-up `{lookup}`). Sent, it is used instead."
    return (_number(value) | None, Field(None, description=note))


def _number(bounds: Column | Value) -> Any:
    low = -LARGEST if bounds.min is None else bounds.min
    high = LARGEST if bounds.max is None else bounds.max
    return Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)]


def _described(item: Column | Value) -> str:
    text = item.description.rstrip(".")
    return f"{text} ({item.unit})." if item.unit else f"{text}."


def _is_text(example: str) -> Any:
    def check(value: Any) -> Any:
        if not isinstance(value, str):
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
