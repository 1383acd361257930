"""What `kubectl kustomize` makes of k8s/, and the pods in it. It knows no rule."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from core.config import ROOT, YAML_LOADER

K8S = ROOT / "k8s"
OVERLAYS = ("local", "production")
COMPONENTS = tuple(sorted(path.name for path in (K8S / "components").iterdir()))
OPTIONAL = ("gpu-training", "ingress", "monitoring")  # the others are part of an overlay
RENDERINGS = (*OVERLAYS, *(f"{overlay}+{name}" for overlay in OVERLAYS for name in (*OPTIONAL, "all")))
TEMPLATES = {  # where the pods of a kind stand
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "PodTemplate": ("template",),
    "StatefulSet": ("spec", "template"),
}
LASTING = ("Deployment", "StatefulSet")
Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """The pods that one object makes."""

    owner: Object
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        return name(self.owner)

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def lasts(self) -> bool:
        return self.owner["kind"] in LASTING


def name(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


def find(objects: list[Object], kind: str, called: str) -> Object:
    (found,) = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == called]
    return found


def pods(objects: list[Object]) -> Iterator[Pod]:
    for item in of_kind(objects, *TEMPLATES):
        template: Any = item
        for key in TEMPLATES[item["kind"]]:
            template = template[key]
        yield Pod(item, template["metadata"]["labels"], template["spec"])


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """A label selector as k8s/ writes it: by matchLabels alone."""
    assert set(selector) <= {"matchLabels"}, f"not understood here: {selector}"
    return selector.get("matchLabels", {}).items() <= labels.items()


def load(text: str) -> list[Object]:
    return list(yaml.load_all(text, YAML_LOADER))


def rendering(wanted: str) -> list[Object]:
    """A fresh copy of the objects of `local`, or of `local+ingress`, or of `local+all`."""
    return load(_text(wanted))


def render(folder: Path) -> str:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _text(wanted: str) -> str:
    """Of a copy in which the overlay lists the component, last, as somebody would add it."""
    overlay, _, component = wanted.partition("+")
    if not component:
        return render(K8S / "overlays" / overlay)
    with TemporaryDirectory() as folder:
        for part in ("k8s", "docker"):
            shutil.copytree(ROOT / part, Path(folder) / part)
        file = Path(folder) / "k8s" / "overlays" / overlay / "kustomization.yaml"
        content = yaml.load(file.read_text(), YAML_LOADER)
        chosen = OPTIONAL if component == "all" else (component,)
        content["components"] += [f"../../components/{each}" for each in chosen]
        file.write_text(yaml.safe_dump(content))
        return render(file.parent)
