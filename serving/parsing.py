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

ROW, NUMBER = 64 * 1024, 32  # bytes of JSON: of a row without arrays, and of a number in an array, with spaces
PIECE = 250  # rows validated in one go: some milliseconds
SHOWN = 20  # mistakes named in one reply
LONGEST = 80  # characters of what was sent, in a reply
Row = dict[str, Any]


class RowParser:
    """Parses the requests of one problem."""

    def __init__(self, spec: ProblemSpec) -> None:
        self.row, self._spec, self.image_column = row_type(spec), spec, image_column(spec)
        self._one, self._many = TypeAdapter(self.row), TypeAdapter(list[self.row])  # type: ignore[name-defined]
        self._names = [*spec.columns, *spec.lookup_values]
        self.max_row = ROW + NUMBER * sum(column.size for column in spec.columns.values() if column.type == "array")

    def one(self, body: bytes) -> Row:
        # A large one would keep everybody waiting, and pydantic copies it for each mistake.
        if len(body) > self.max_row:
            raise Refused(413, FieldError(field="body", message=f"one row is at most {self.max_row} bytes"))
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
        self._refuse_many_fields(content if at else [content], at)
        try:
            return adapter.validate_python(content, strict=strict)
        except ValidationError as error:
            found = [_field_error(item, at, self._names) for item in error.errors(include_url=False)[:SHOWN]]
            raise Refused(422, *found) from None

    def _refuse_many_fields(self, rows: list[Any], at: Sequence[Any]) -> None:
        """Pydantic would make an error of each, however many there are."""
        for number, row in enumerate(rows):
            if isinstance(row, dict) and len(row) > len(self._names) + SHOWN:
                field = f"{at[0]}.{at[1] + number}" if at else "body"
                raise Refused(422, FieldError(field=field, message="too many fields", got=f"{len(row)} fields"))


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
        raise Refused(422, FieldError(field=_cut(extra[0]), message="unknown field; expected only `rows`"))
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
    return FieldError(field=_cut(".".join(map(str, loc))) or "body", message=_message(item, names), got=got)


def _message(item: ErrorDetails, names: list[str]) -> str:
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(_cut(str(item["loc"][-1])), names, n=1)
        return f"unknown field; did you mean {near[0]}?" if near else f"unknown field; known: {', '.join(names)}"
    if item["type"] == "string_pattern_mismatch":
        return "must not contain control characters"
    if item["type"] == "dict_type":
        return "expected a JSON object"
    return item["msg"]


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return type(value).__name__
    if isinstance(value, bytes):
        return _cut(value[: LONGEST + 1].decode(errors="replace"))
    return _cut(repr(value[: LONGEST + 1] if isinstance(value, str) else value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
