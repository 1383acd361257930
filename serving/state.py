"""What one request is answered with: an immutable snapshot of models, canary share and look-ups.

The follower replaces the whole snapshot; a request keeps the one it started with.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.lookups import Lookup
from core.releases import Release
from core.runtime import OnnxModel
from core.schema import ProblemSpec

BUCKETS = 10_000  # a percent has a hundred, so shares down to 0.01 % work


@dataclass(frozen=True)
class ServedModel:
    """A loaded version."""

    version: str
    onnx: OnnxModel
    categories: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, version: str, onnx: OnnxModel) -> "ServedModel":
        return cls(version, onnx, {name: frozenset(seen) for name, seen in onnx.contract.categories.items()})


@dataclass(frozen=True)
class State:
    """One consistent set of what answers. Nothing does without a champion, or without the version that this server is
    to serve; a shadow never does.
    """

    champion: ServedModel | None
    canary: ServedModel | None
    percent: float
    lookups: Mapping[str, Lookup]
    lookups_id: int
    shadow: ServedModel | None = None
    answers: bool = False

    @classmethod
    def empty(cls, spec: ProblemSpec) -> "State":
        lookups = {name: _empty(about.values, about.tolerance_h) for name, about in spec.lookups.items()}
        return cls(None, None, 0.0, lookups, 0)

    @property
    def release(self) -> Release:
        """What is served, in the registry's terms."""
        champion, tried = self.champion, self.canary or self.shadow
        versions = champion.version if champion else None, tried.version if tried else None
        return Release(*versions, self.percent, self.shadow is not None)

    @property
    def roles(self) -> dict[str, ServedModel]:
        """The loaded models by role."""
        found = {"champion": self.champion, "canary": self.canary, "shadow": self.shadow}
        return {role: model for role, model in found.items() if model}

    def by_canary(self, entities: np.ndarray) -> np.ndarray:
        """Which rows the canary answers, bool, shape (n,). The same entity always gets the same answerer."""
        if self.canary is None:
            return np.zeros(len(entities), bool)
        unique, inverse = np.unique(entities, return_inverse=True)
        limit = self.percent * BUCKETS / 100
        chosen = [bucket(self.canary.version, entity) < limit for entity in unique.tolist()]
        return np.array(chosen, bool)[inverse]


def bucket(version: str, entity: str) -> int:
    """0 … BUCKETS - 1. The version is part of the hash, so that it is not always the same entities that go first."""
    whole = hashlib.blake2b(f"{version}\x1f{entity}".encode(), digest_size=8).digest()
    return int.from_bytes(whole, "big") % BUCKETS


def _empty(values: Mapping[str, Any], tolerance_h: float) -> Lookup:
    nothing = {name: np.array([], np.float32) for name in values}
    return Lookup.build(np.array([], str), np.array([], "datetime64[s]"), nothing, tolerance_h)
