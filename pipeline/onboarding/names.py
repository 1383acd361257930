"""Names of columns in a table to identifiers, which are names of request fields, of Python and of graph inputs."""

import difflib
import keyword
import re
import unicodedata
from collections.abc import Iterable, Sequence

from core.errors import DataError

TAKEN = {  # by tables and frames of the loop, in which columns of the problem stand beside its own
    "partition", "prediction_time", "arrived_at", "available_at", "row_id",
    "prediction", "label", "residual", "loss", "baseline_loss", "baseline", "day",
}  # fmt: skip
LONGEST = 60  # of an identifier made of a long question


def identifiers(sources: Sequence[str]) -> dict[str, str]:
    """Source name -> identifier, all different. Letters of any script stay."""
    out: dict[str, str] = {}
    used: set[str] = set()
    for source in sources:
        name = _free(identifier(source), used)
        used.add(name.lower())
        out[source] = name
    return out


def identifier(source: str) -> str:
    """The name itself where it is an identifier, else the nearest one."""
    text = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", source)).strip("_")[:LONGEST].rstrip("_")
    text = f"c_{text}".rstrip("_") if not text or not text[0].isalpha() else text
    return (
        f"{text}_" if text.lower() in _reserved() or keyword.iskeyword(text) or text.startswith("embedding_") else text
    )


def problem_name(text: str) -> str:
    """A folder, a Python package and a registered model: small Latin letters, digits, underscores."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    name = f"p_{name}".rstrip("_") if not name or not name[0].isalpha() else name
    return f"{name}_" if keyword.iskeyword(name) else name


def chosen(asked: str, there: Iterable[str], what: str, where: str) -> str:
    """`asked` itself; a name that is not there is refused, and the near ones are named."""
    there = list(there)
    if asked in there:
        return asked
    folded = {name.casefold(): name for name in there}
    near = [folded[n] for n in difflib.get_close_matches(asked.casefold(), folded, n=3)]
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(there[:30])}"
    raise DataError(f"{what} {asked!r} is not in {where}; {hint}")


def _free(name: str, used: set[str]) -> str:
    number, found = 2, name
    while found.lower() in used:
        found, number = f"{name}_{number}", number + 1
    return found


def _reserved() -> set[str]:
    """Attributes of pydantic's models are no names of fields."""
    from pydantic import BaseModel

    return TAKEN | {name.lower() for name in dir(BaseModel)}
