"""Switch to another problem: params.yaml names it, the day of its demo and its candidates. Its comments stay."""

import re
from collections.abc import Sequence
from pathlib import Path

from core.config import ROOT, Params, params
from core.errors import ConfigError
from pipeline.onboarding.names import chosen
from problems import load, names


def use(name: str, folder: Path = ROOT) -> Params:
    """Rewrite folder/params.yaml; raises for a problem that is not there, naming those that are near."""
    spec = load(chosen(name, names(), "problem", "problems/")).spec
    path = folder / "params.yaml"
    text = _set(path.read_text(encoding="utf-8"), "problem", name)
    if spec.demo is not None:
        text = _set(text, "as_of", f'"{spec.demo.first_day}"')
    path.write_text(_set(text, "candidates", _flow(list(spec.candidates))), encoding="utf-8")
    return params(folder)


def _set(text: str, key: str, value: str) -> str:
    """The line of a key with another value; a comment at its end stays."""
    changed, count = re.subn(rf"(?m)^{key}:[^#\n]*?(?=[ \t]*(#.*)?$)", lambda _: f"{key}: {value}", text)
    if count != 1:
        raise ConfigError(f"params.yaml has {count} lines {key}:, expected one")
    return changed


def _flow(values: Sequence[str]) -> str:
    return f"[{', '.join(values)}]"
