"""docs/kubernetes.md: its sums are those of the manifests, its names exist, and it lists every secret."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.config import ROOT
from tests.k8s.policies.pods import quantity
from tests.k8s.policies.wiring import OUTSIDE, secrets_made
from tests.k8s.rendered import K8S, Object, Pod, load, name, of_kind, pods, render, rendering

pytestmark = pytest.mark.k8s
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
COMMANDS = re.findall(r"^ *\$ (.*?)(?: +#.*)?$", PAGE, re.MULTILINE)
TASKS = """
from dags.lifecycle import lifecycle
from dags.monitor import monitor
print(*[task.task_id for dag in (monitor(), lifecycle()) for task in dag.tasks])
"""


def at_rest(objects: list[Object]) -> dict[str, float]:
    """Requests of everything that runs all the time, cores and bytes: a canary is not there at rest."""
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    least = {scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"]["minReplicas"] for scaler in scalers}
    lasting = [pod for pod in pods(objects) if pod.lasts and pod.labels.get("track") != "canary"]
    counted = [(pod, least.get(pod.owner["metadata"]["name"]) or pod.owner["spec"]["replicas"]) for pod in lasting]
    return {what: sum(count * of_pod(pod, what) for pod, count in counted) for what in ("cpu", "memory")}


def of_pod(pod: Pod, what: str) -> float:
    """As the scheduler counts it: the containers together, or the largest of the steps before them."""
    main = sum(asked(pod.spec["containers"], what))
    return max([main, *asked(pod.spec.get("initContainers", []), what)])


def asked(containers: Iterable[Object], what: str) -> list[float]:
    return [quantity(container["resources"]["requests"][what]) for container in containers]


def amounts(sums: dict[str, float], times: float = 1) -> tuple[int, int]:
    """Millicores and MiB."""
    return round(sums["cpu"] * 1000 * times), round(sums["memory"] / 2**20 * times)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Ids of the tasks of a night: the monitor's and the life cycle's."""
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run([sys.executable, "-c", TASKS], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()


def test_the_sums_at_rest_are_those_of_the_manifests() -> None:
    local, production = at_rest(rendering("local")), at_rest(rendering("production"))
    more = at_rest(rendering("local+monitoring"))
    watched = {what: more[what] - local[what] for what in local}
    (one,) = [pod for pod in pods(rendering("local")) if pod.name == "Deployment/serving"]
    for title, sums in {
        "`local`": local,
        "`production`, beside PostgreSQL": production,
        "`monitoring` in addition": watched,
        "one more pod of `serving`": {what: of_pod(one, what) for what in local},
    }.items():
        cores, memory = amounts(sums)
        assert f"| {title} | {cores} | {memory} |" in PAGE


def test_the_sums_of_a_night_are_those_of_its_pods(tasks: list[str]) -> None:
    (pod,) = [pod for pod in pods(rendering("local")) if pod.owner["kind"] == "PodTemplate"]
    each = {what: of_pod(pod, what) for what in ("cpu", "memory")}
    training = [task for task in tasks if task.startswith("train")]
    assert len(training) > 1
    assert f"but for the candidates | {len(tasks)} |" in PAGE
    assert "| each | {} millicores, {} MiB |".format(*amounts(each)) in PAGE
    assert "training) | {} millicores, {} MiB |".format(*amounts(each, len(training))) in PAGE
    hours = len(tasks) / 60
    said = f"{each['cpu'] * hours:.2f} core-hours, {each['memory'] / 2**30 * hours:.2f} GiB-hours"
    assert f"| if each takes a minute | {said} |" in PAGE


def test_the_documented_secrets_are_those_that_pods_ask_for() -> None:
    rows = {
        row[0]: set(re.findall(r"`([^`]+)`", row[1]))
        for row in re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", _table("Secret"), re.MULTILINE)
    }
    assert {called: keys for called, keys in rows.items() if called not in OUTSIDE} == secrets_made()
    assert set(rows) - set(secrets_made()) == OUTSIDE


def test_it_takes_ten_commands() -> None:
    block = PAGE.split("```console")[1].split("```")[0]
    assert len(re.findall(r"^\$ ", block, re.MULTILINE)) == 10


def test_objects_in_commands_exist() -> None:
    made = {"secret/closed-loop", *(f"secret/{called}" for called in secrets_made())}
    there = made | {name(item).lower() for item in rendering("local+all")}
    named = {word for command in COMMANDS for word in re.findall(r"\b(?:deployment|service|job)/[a-z-]+", command)}
    named |= {f"secret/{word}" for command in COMMANDS for word in re.findall(r"get secret ([a-z-]+)", command)}
    assert named
    assert named - there == set()


def test_folders_in_commands_exist() -> None:
    folders = {
        word for command in COMMANDS for word in shlex.split(command.replace("|", " ")) if word.startswith("k8s/")
    }
    assert {"k8s/overlays/local", "k8s/loop"} <= folders
    assert all((ROOT / folder).exists() for folder in folders)


def test_the_map_names_every_part() -> None:
    listed = PAGE.split("```text")[1].split("```")[0]
    parts = [
        path.name for folder in ("base", "components", "overlays") for path in (K8S / folder).iterdir() if path.is_dir()
    ]
    assert [part for part in parts if not re.search(rf"\b{part}\b", listed)] == []


def test_the_example_overlay_renders(tmp_path: Path) -> None:
    for part in ("k8s", "docker"):
        shutil.copytree(ROOT / part, tmp_path / part)
    mine = tmp_path / "k8s/overlays/mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(PAGE.split("```yaml")[1].split("```")[0])
    settings = [item["data"] for item in of_kind(load(render(mine)), "ConfigMap")]
    assert ("mine", "0 3 * * *") in [(each.get("LOOP_PROBLEM"), each.get("LOOP_NIGHTLY")) for each in settings]


def _table(head: str) -> str:
    return PAGE.split(f"| {head} |")[1].split("\n\n")[0]
