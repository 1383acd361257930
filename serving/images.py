"""A PNG to the numbers of an image column: 8-bit grey, resized to the column's shape, black and white its min and max.

Each number is the mean of the area that it covers. Pillow is imported with the first image: a server that gets none
starts without it.
"""

import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from core.schema import Column, ProblemSpec
from serving.replies import FieldError, Refused

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 4_000_000  # of an upload: 16 MB when decoded
SIGNATURE = b"\x89PNG\r\n\x1a\n"
WHITE = 255
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    AssertionError,
    struct.error,
    zlib.error,
)  # by Pillow


def image_column(spec: ProblemSpec) -> str | None:
    """The problem's only array, when it has two sizes: height, width."""
    arrays = [name for name, column in spec.columns.items() if column.type == "array"]
    return arrays[0] if len(arrays) == 1 and len(spec.columns[arrays[0]].shape) == 2 else None


def pixels(content: bytes, column: Column) -> list[float]:
    """The image row by row, `column.size` numbers; transparent pixels are black. Raises Refused, 400 or 413."""
    if not content.startswith(SIGNATURE):
        raise _refused(400, "expected a PNG image")
    _check_size(*struct.unpack(">II", content[16:24].ljust(8, b"\0")))  # before anything is decoded
    try:
        grey = _decoded(content, column)
    except BROKEN as error:
        raise _refused(400, f"not a readable PNG image: {error}") from None
    return _scaled(np.asarray(grey).ravel(), column)


def _decoded(content: bytes, column: Column) -> "Image.Image":
    from PIL import Image

    height, width = column.shape
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            _check_size(*image.size)  # the header may come twice
            return _grey(image).resize((width, height), Image.Resampling.BOX)
    except Image.DecompressionBombError:
        raise _too_large() from None


def _grey(image: "Image.Image") -> "Image.Image":
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits: Pillow would clip, not scale
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, "black")
        return Image.alpha_composite(black, image.convert("RGBA")).convert("L")
    return image.convert("L")


def _scaled(grey: np.ndarray, column: Column) -> list[float]:
    low = 0.0 if column.min is None else column.min
    high = float(WHITE) if column.max is None else column.max
    numbers: Any = grey if (low, high) == (0, WHITE) else np.clip(low + (high - low) * (grey / WHITE), low, high)
    out: list[float] = numbers.tolist()
    return out


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height}")


def _too_large(got: str | None = None) -> Refused:
    return _refused(413, f"expected an image of at most {MAX_PIXELS} pixels", got)


def _refused(status: int, message: str, got: str | None = None) -> Refused:
    return Refused(status, FieldError(field="body", message=message, got=got))
