"""Production runs what was pushed and nothing else: placeholders cannot be pulled, one command puts digests there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from core.config import ROOT
from tests.k8s.policies import rights
from tests.k8s.rendered import find, load, pods, render, rendering

pytestmark = pytest.mark.k8s
REGISTRY = "registry.example.com/team"
DOCKER = """#!/bin/sh
echo "$@" >> "$SAID"
case "$1 $2" in
"image inspect") for last; do :; done
    name=${last##*/}
    echo "elsewhere.example.com/${name%:*}@sha256:$(printf e%.0s $(seq 64))"
    echo "registry.example.com/team/${name%:*}@sha256:$(printf %s "$last" | sha256sum | cut -c-64)";;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy with a Docker that only notes what it is asked."""
    for part in ("k8s", "docker", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    me = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    for words in (["init", "-q"], [*me, "commit", "--quiet", "--allow-empty", "--message=first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def push(checkout: Path) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"PATH": f"{checkout / 'bin'}:{os.environ['PATH']}", "SAID": str(checkout / "said")}
    command = [str(checkout / "scripts/k8s-images.sh"), REGISTRY]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_placeholders_can_never_be_pulled() -> None:
    images = {container["image"] for pod in pods(rendering("production+all")) for container in pod.containers}
    assert {image.partition("/")[0] for image in images} == {"registry.invalid"}


@pytest.mark.parametrize("component", ["", "  - ../../components/monitoring\n"])
def test_one_command_pushes_and_notes_the_digests(checkout: Path, component: str) -> None:
    file = checkout / "k8s/overlays/production/kustomization.yaml"
    file.write_text(file.read_text().replace("components:\n", f"components:\n{component}"))
    done = push(checkout)
    assert done.returncode == 0, done.stderr
    made = load(render(file.parent))
    images = {container["image"] for pod in pods(made) for container in pod.containers}
    assert all(image.startswith(f"{REGISTRY}/") and "eeee" not in image for image in images), images
    assert list(rights.digested(made)) == []
    assert len(images) == (5 if component else 3)
    assert find(made, "Deployment", "serving")
    pushed = [line for line in (checkout / "said").read_text().splitlines() if line.startswith("push")]
    assert len(pushed) == len(images)


def test_a_second_push_replaces_the_first(checkout: Path) -> None:
    assert push(checkout).returncode == 0
    file = checkout / "k8s/overlays/production/kustomization.yaml"
    once = file.read_text()
    assert push(checkout).returncode == 0
    assert file.read_text() == once


def test_an_image_without_a_digest_stops_it(checkout: Path) -> None:
    docker = checkout / "bin" / "docker"
    docker.write_text(docker.read_text().replace("registry.example.com/team", "elsewhere.example.com"))
    file = checkout / "k8s/overlays/production/kustomization.yaml"
    before = file.read_text()
    assert push(checkout).returncode != 0
    assert file.read_text() == before
