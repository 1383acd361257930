"""compose.yaml as this machine would run it: the project's name, and the ports that it publishes. It runs nothing."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from core.config import ROOT, YAML_LOADER
from core.errors import ConfigError

PUBLISHED = re.compile(r"\$\{(?P<variable>[A-Z_]+_PORT):-(?P<usual>\d+)\}:\d+$")


@dataclass(frozen=True)
class Port:
    """One that a service publishes on this machine."""

    service: str
    variable: str  # names it in the environment or .env
    number: int


def project(given: Mapping[str, str | None]) -> str:
    """Name of the project: it stands on every container. `given` are variables of the environment and .env."""
    return given.get("COMPOSE_PROJECT_NAME") or str(_file()["name"])


def ports(given: Mapping[str, str | None]) -> Iterator[Port]:
    """Of the services that start: those without a profile, and those of COMPOSE_PROFILES. May raise ConfigError."""
    asked = set((given.get("COMPOSE_PROFILES") or "").split(","))
    for name, service in _file()["services"].items():
        profiles = set(service.get("profiles", []))
        if not profiles or "*" in asked or profiles & asked:
            for found in (PUBLISHED.search(port) for port in service.get("ports", [])):
                assert found
                yield Port(name, found["variable"], _number(given, found["variable"]) or int(found["usual"]))


def _number(given: Mapping[str, str | None], variable: str) -> int | None:
    text = given.get(variable)
    if text and not text.isdecimal():
        raise ConfigError(f"{variable} is {text!r}; it must be the number of a port")
    return int(text) if text else None


def _file() -> dict[str, Any]:
    return dict(yaml.load((ROOT / "compose.yaml").read_text(encoding="utf-8"), Loader=YAML_LOADER))
