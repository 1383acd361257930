"""Arrays and PNG uploads: what is taken, as which numbers, and what is refused in which words."""

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from core.config import Settings
from core.database import connect
from core.predictions import PREDICTIONS
from core.schema import Column
from serving.app import create_app
from serving.arrays import array_type
from serving.documentation import documented
from serving.images import MAX_PIXELS, image_column, pixels
from serving.limits import MAX_BODY
from serving.replies import Refused
from serving.schemas import example
from tests.serving import toys
from tests.serving.models import bundle
from tests.serving.process import ServerHere
from tests.serving.registry import FakeRegistry

TOY = toys.image()
OTHERS = {"id": "a", "who": "w", "size": "1.5", "kind": "red", "at": "2013-04-01T00:00:00Z"}
GREY = np.array([[0, 3, 128], [200, 254, 255]], np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[ServerHere]:
    registry = FakeRegistry(TOY.spec.name)
    registry.register("1", bundle(TOY.spec, home / "1", [0.2, 0.5, 0.3], embedding=True))
    registry.release("1")
    server = ServerHere(home / "home", registry.url, TOY)
    server.ready()
    yield server
    server.kill()
    registry.close()


def column(**change: Any) -> Column:
    return Column.model_validate(toys.PIXELS | change)


def png(picture: np.ndarray | Image.Image, **options: Any) -> bytes:
    out = BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(out, "PNG", **options)
    return out.getvalue()


def header(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def upload(server: ServerHere, body: bytes, content_type: str = "image/png", **query: str) -> httpx.Response:
    path = "/predict/image"
    return server.client.post(path, content=body, headers={"content-type": content_type}, params=query or OTHERS)


def refused(answer: httpx.Response, status: int = 422) -> tuple[str, str]:
    """Field and message of the first mistake."""
    assert answer.status_code == status, answer.text
    first = answer.json()["errors"][0]
    return first["field"], first["message"]


@pytest.mark.parametrize("sent", [[1, 2, 3, 4, 5, 6.5], [[1, 2, 3], [4, 5, 6.5]]])
def test_an_array_is_taken_flat_or_nested(server: ServerHere, sent: list[Any]) -> None:
    answer = server.post("/predict", example(TOY.spec) | {"pixels": sent})
    assert answer.json()["label"] == "on time"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([1] * 5, "expected 2 x 3 = 6 numbers, got 5"),
        ([1] * 7, "expected 2 x 3 = 6 numbers, got 7"),
        ([], "expected 2 x 3 = 6 numbers, got 0"),
        ([[1] * 3] * 3, "2 x 3 = 6 numbers nested as [2, 3], got 3 where it should be 2"),
        ([[1] * 2] * 3, "got 3 where it should be 2"),
        ([[1] * 3, [1] * 2], "got 2 where it should be 3"),
        ([[1] * 3, 1], "lists and numbers mixed"),
        ([[[1]] * 3] * 2, "lists and numbers mixed"),
        ([1, 2, 3, 4, 5, [6]], "got [6] at 5"),
        ([1, 2, 3, 4, 5, 256], "expected numbers from 0 to 255, got 256 at 5"),
        ([1, -0.1, 3, 4, 5, 6], "got -0.1 at 1"),
        ([1, 2, None, 4, 5, 6], "got None at 2"),
        ([1, 2, True, 4, 5, 6], "got True at 2"),
        ([1, 2, "3", 4, 5, 6], "got '3' at 2"),
        ([1, 2, 3, 4, 5, 10**400], "at 5"),
        ("pixels", "expected 2 x 3 = 6 numbers in a list"),
        ({"a": 1}, "in a list"),
        (None, "in a list"),
    ],
)
def test_a_wrong_array_is_refused_with_what_was_expected(server: ServerHere, sent: Any, words: str) -> None:
    field, message = refused(server.post("/predict", example(TOY.spec) | {"pixels": sent}))
    assert field == "pixels"
    assert words in message
    rows = [example(TOY.spec), example(TOY.spec) | {"pixels": sent}]
    assert refused(server.post("/predict/batch", {"rows": rows}))[0] == "rows.1.pixels"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_array_holds_finite_numbers(server: ServerHere, number: str) -> None:
    body = json.dumps(example(TOY.spec) | {"pixels": [1, 2, 3, 4, 5, "?"]}).replace('"?"', number)
    field, message = refused(server.client.post("/predict", content=body))
    assert (field, "at 5" in message) == ("pixels", True)


def test_an_array_without_bounds_takes_what_float32_holds() -> None:
    adapter = TypeAdapter(array_type(column(min=None, max=None), -1e12, 1e12))
    assert adapter.validate_python([-1e12, 0, 0, 0, 0, 1e12]) == [-1e12, 0, 0, 0, 0, 1e12]
    with pytest.raises(ValidationError, match="got 10000000000000 at 0"):
        adapter.validate_python([10**13, 0, 0, 0, 0, 0])


def test_an_uploaded_png_is_its_pixels(server: ServerHere, home: Path) -> None:
    answer = upload(server, png(GREY), **OTHERS | {"id": "uploaded"}).json()
    assert answer["event_id"] == "uploaded"
    assert server.wait("/readyz", pending_rows=0)
    with connect(f"sqlite:///{home / 'home' / 'loop.db'}").connect() as connection:
        query = select(PREDICTIONS).where(PREDICTIONS.c.id == answer["prediction_id"])
        row = connection.execute(query).mappings().one()
    assert row["inputs"] == OTHERS | {"id": "uploaded", "size": 1.5, "pixels": GREY.ravel().tolist()}
    assert row["features"]["pixels_mean"] == pytest.approx(GREY.mean())


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (GREY, GREY),
        (np.stack([GREY] * 3, axis=2), GREY),
        (GREY.repeat(40, 0).repeat(40, 1), GREY),
        (GREY.astype(np.uint16) * 257, GREY),
        (np.stack([GREY, np.full_like(GREY, 255)], axis=2), GREY),
        (np.stack([GREY, np.zeros_like(GREY)], axis=2), GREY * 0),
        (GREY > 127, (GREY > 127) * 255),
        (Image.fromarray(GREY).quantize(), GREY),
    ],
    ids=["grey", "colour", "large", "16 bits", "opaque", "transparent", "1 bit", "palette"],
)
def test_every_kind_of_png_becomes_grey(sent: Any, wanted: np.ndarray) -> None:
    found = np.array(pixels(png(sent), column()))
    assert np.abs(found - wanted.ravel()).max() <= 1


def test_black_is_the_columns_min_and_white_its_max() -> None:
    found = pixels(png(GREY), column(min=0.1, max=0.3))
    assert (found[0], found[5]) == (0.1, 0.3)
    assert found[2] == pytest.approx(0.1 + 0.2 * 128 / 255)
    assert pixels(png(GREY), column(min=None, max=None)) == GREY.ravel().tolist()


@pytest.mark.parametrize(
    "body", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", header(3, 2), png(GREY)[:45], png(GREY)[:40] + b"\xff" * 30]
)
def test_what_is_no_readable_png_is_refused(server: ServerHere, body: bytes) -> None:
    field, message = refused(upload(server, body), 400)
    assert (field, "PNG" in message) == ("body", True)


def test_no_damage_to_a_png_is_an_error_of_the_server() -> None:
    rng, good = np.random.default_rng(0), png(GREY.repeat(9, 0))
    for _ in range(300):
        bad = bytearray(good)
        bad[rng.integers(8, len(bad))] = rng.integers(256)
        with suppress(Refused):
            assert len(pixels(bytes(bad), column())) == 6


@pytest.mark.parametrize("size", [(MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1), (10_000, 10_000)])
def test_a_png_that_unpacks_to_too_much_is_refused_unread(server: ServerHere, size: tuple[int, int]) -> None:
    assert str(MAX_PIXELS) in refused(upload(server, header(*size)), 413)[1]


def test_a_palette_that_is_missing_is_damage_too() -> None:
    whole = png(Image.fromarray(GREY).quantize())
    start, end = whole.index(b"PLTE") - 4, whole.index(b"IDAT") - 4
    with pytest.raises(Refused, match="not a readable PNG"):
        pixels(whole[:start] + whole[end:], column())


def test_a_second_header_does_not_get_around_the_limit() -> None:
    with pytest.raises(Refused, match=str(MAX_PIXELS)):
        pixels(header(3, 2) + header(5000, 5000)[8:] + png(GREY)[33:], column())


def test_a_png_of_the_largest_size_is_taken(server: ServerHere) -> None:
    assert upload(server, png(np.zeros((2000, MAX_PIXELS // 2000), np.uint8))).status_code == 200


def test_an_upload_over_the_limit_of_bodies_is_refused(server: ServerHere) -> None:
    assert refused(upload(server, b"\x89PNG" + b" " * MAX_BODY), 413)[0] == "body"


@pytest.mark.parametrize("content_type", ["", "application/json", "image/jpeg"])
def test_another_content_type_is_refused(server: ServerHere, content_type: str) -> None:
    assert refused(upload(server, png(GREY), content_type), 415) == ("body", "expected content type image/png")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"id": None}, "id", "required"),
        ({"size": "large"}, "size", "valid number"),
        ({"size": "nan"}, "size", "finite"),
        ({"colour": "red"}, "colour", "unknown field"),
        ({"pixels": "1"}, "pixels", "is the body"),
        ({"at": "noon"}, "at", "UTC offset"),
    ],
)
def test_the_other_columns_are_checked_in_the_query(
    server: ServerHere, change: dict[str, Any], field: str, words: str
) -> None:
    query = {name: value for name, value in (OTHERS | change).items() if value is not None}
    assert refused(upload(server, png(GREY), **query))[0] == field
    assert words in refused(upload(server, png(GREY), **query))[1]


def test_the_documentation_says_how_to_upload(server: ServerHere) -> None:
    about = server.get("/openapi.json").json()["paths"]["/predict/image"]["post"]
    assert about["requestBody"]["content"] == {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    assert "2 x 3" in about["requestBody"]["description"]
    query = {item["name"]: item["required"] for item in about["parameters"]}
    assert query == {"id": True, "who": True, "at": False, "size": False, "kind": False, "rain": False}
    assert {"200", "400", "413", "415", "422", "503"} <= set(about["responses"])
    assert server.get("/openapi.json").json() == server.get("/openapi.json").json()


def test_an_array_is_documented_in_both_forms(server: ServerHere) -> None:
    row = server.get("/openapi.json").json()["components"]["schemas"]["ToyRow"]
    nested, flat = row["properties"]["pixels"]["anyOf"]
    assert (flat["minItems"], flat["maxItems"], flat["items"]["maximum"]) == (6, 6, 255)
    assert (nested["minItems"], nested["items"]["minItems"]) == (2, 3)
    assert "pixels" in row["required"]


@pytest.mark.parametrize("make", [toys.binary, toys.regression, toys.cube])
def test_a_problem_without_an_image_has_no_upload(make: Any, tmp_path: Path) -> None:
    toy = make()
    assert image_column(toy.spec) is None
    app = create_app(toy, Settings(home=tmp_path, problem="toy"))
    assert not [path for path in app.openapi()["paths"] if "image" in path]
    assert documented(app.openapi, toy.spec, lambda: True)()["paths"].keys() == app.openapi()["paths"].keys()
    app.state.server.stop()
