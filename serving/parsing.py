"""Bytes of a body to validated rows, or a refusal that names each field. Predicts nothing.

A batch is validated in pieces: between two of them other requests get their turn, and a bad one is refused early.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from core.schema import ProblemSpec
from serving.images import image_column, pixels
from serving.replies import FieldError, Refused
from serving.schemas import MAX_ROWS, row_type

PIECE = 250  # rows validated in one go: some milliseconds
SHOWN = 20  # mistakes named in one reply
Row = dict[str, Any]


class RowParser:
    """Parses the requests of one problem."""

    def __init__(self, spec: ProblemSpec) -> None:
        self.row, self._spec, self.image_column = row_type(spec), spec, image_column(spec)
        self._one, self._many = TypeAdapter(self.row), TypeAdapter(list[self.row])  # type: ignore[name-defined]

    def one(self, body: bytes) -> Row:
        try:
            row: Row = self._one.validate_json(body)
        except ValidationError:  # the longer way knows what to say
            row = self._checked(self._one, _object(body))
        return row

    def image(self, body: bytes, others: Mapping[str, str]) -> Row:
        """A PNG and the other columns as texts to a row, for problems with an image column."""
        name = self.image_column
        assert name is not None
        if name in others:
            raise Refused(422, FieldError(field=name, message="is the body of this request; leave it out of the query"))
        content = {**others, name: pixels(body, self._spec.columns[name])}
        row: Row = self._checked(self._one, content, strict=False)
        return row

    def many(self, body: bytes) -> list[Row]:
        rows = _rows(_object(body))
        out: list[Row] = []
        for start in range(0, len(rows), PIECE):
            out.extend(self._checked(self._many, rows[start : start + PIECE], ("rows", start)))
        return out

    def _checked(
        self, adapter: TypeAdapter[Any], content: Any, at: Sequence[Any] = (), strict: bool | None = None
    ) -> Any:
        try:
            return adapter.validate_python(content, strict=strict)
        except ValidationError as error:
            names = [*self._spec.columns, *self._spec.lookup_values]
            found = [_field_error(item, at, names) for item in error.errors(include_url=False)[:SHOWN]]
            raise Refused(422, *found) from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = from_json(body)
    except ValueError as error:
        raise Refused(400, FieldError(field="body", message=f"not valid JSON: {error}", got=_short(body))) from None
    if not isinstance(content, dict):
        raise Refused(422, FieldError(field="body", message="expected a JSON object", got=_short(content)))
    return content


def _rows(content: dict[str, Any]) -> list[Any]:
    extra = sorted(set(content) - {"rows"})
    if extra:
        raise Refused(422, FieldError(field=extra[0], message="unknown field; expected only `rows`"))
    rows = content.get("rows")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
        got = f"{len(rows)} rows" if isinstance(rows, list) else _short(rows)
        raise Refused(422, FieldError(field="rows", message=f"expected a list of 1 to {MAX_ROWS} rows", got=got))
    return rows


def _field_error(item: ErrorDetails, at: Sequence[Any], names: list[str]) -> FieldError:
    loc: tuple[Any, ...] = item["loc"]
    if at:
        loc = (at[0], at[1] + loc[0], *loc[1:])
    got = None if item["type"] == "missing" else _short(item["input"])
    return FieldError(field=".".join(map(str, loc)) or "body", message=_message(item, names), got=got)


def _message(item: ErrorDetails, names: list[str]) -> str:
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), names, n=1)
        return f"unknown field; did you mean {near[0]}?" if near else f"unknown field; known: {', '.join(names)}"
    if item["type"] == "string_pattern_mismatch":
        return "must not contain control characters"
    if item["type"] == "dict_type":
        return "expected a JSON object"
    return item["msg"]


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return type(value).__name__
    text = value.decode(errors="replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
