"""k8s/ as people find it: one resource a file, none forgotten, none twice."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.k8s.rendered import K8S

pytestmark = pytest.mark.k8s
FILES = sorted(K8S.rglob("*.yaml"))
KUSTOMIZATIONS = [path for path in FILES if path.name == "kustomization.yaml"]
RESOURCES = [
    path for path in FILES if path not in KUSTOMIZATIONS and path.name not in ("name-references.yaml", "prometheus.yml")
]


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: str(path.relative_to(K8S)))
def test_a_file_is_one_resource(path: Path) -> None:
    (content,) = yaml.safe_load_all(path.read_text())
    assert {"apiVersion", "kind", "metadata"} <= set(content)
    assert "namespace" not in content["metadata"], "overlays say it, once"


def test_every_file_is_part_of_exactly_one_kustomization() -> None:
    listed = Counter(
        (folder.parent / entry).resolve()
        for folder in KUSTOMIZATIONS
        for entry in _entries(yaml.safe_load(folder.read_text()))
        if (folder.parent / entry).is_file()
    )
    assert listed == Counter(RESOURCES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_lines_are_short(path: Path) -> None:
    assert max(map(len, path.read_text().splitlines())) <= 120


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: str(path.parent.relative_to(K8S)))
def test_what_can_be_chosen_says_what_it_is(path: Path) -> None:
    if path.parent.parent.name in ("components", "overlays"):
        assert path.read_text().startswith("# ")


def _entries(content: dict[str, list[object]]) -> list[str]:
    patches = [patch["path"] for patch in content.get("patches", []) if isinstance(patch, dict) and "path" in patch]
    return [str(entry) for entry in [*content.get("resources", []), *patches]]
