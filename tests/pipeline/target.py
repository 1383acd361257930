"""What every deploy target promises. Each kind runs these with its own `Ground`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import DeployError
from core.releases import Release
from pipeline.deploy.target import Target
from problems import load
from tests.serving.conftest import filled
from tests.serving.models import bundle
from tests.serving.registry import FakeRegistry

GOOD, BETTER, BROKEN = "1", "2", "3"


@dataclass(frozen=True)
class Ground:
    """A target, with versions 1 and 2 that can be served and 3 that cannot. `release` is what the registry names."""

    target: Target
    release: Callable[[str], None]

    def apply(self, version: str) -> None:
        self.release(version)
        self.target.apply(Release(version, None))


def registry(folder: Path) -> FakeRegistry:
    """With the three versions; the broken one cannot repeat its example."""
    bundles = {version: bundle(load("flights").spec, folder / version) for version in (GOOD, BETTER, BROKEN)}
    (bundles[BROKEN] / "example.json").write_text("{}")
    return filled(bundles)


def serves_what_is_applied(ground: Ground) -> None:
    for version in (GOOD, BETTER, GOOD):  # the last one is a roll-back
        ground.apply(version)
        assert ground.target.status() == Release(version, None)


def may_be_applied_again(ground: Ground) -> None:
    for _ in range(2):
        ground.apply(GOOD)
    assert ground.target.status() == Release(GOOD, None)


def goes_on_when_a_version_cannot_be_served(ground: Ground) -> None:
    ground.apply(GOOD)
    with pytest.raises(DeployError):
        ground.apply(BROKEN)
    assert ground.target.status() == Release(GOOD, None)


PROMISES = [serves_what_is_applied, may_be_applied_again, goes_on_when_a_version_cannot_be_served]
