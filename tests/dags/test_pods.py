"""The pods of tasks on Kubernetes, as the executor would make them of k8s/, the DAG and `resources` of problem.yaml."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config import ROOT
from core.schema import ProblemSpec, Resources
from problems import load
from tests.k8s.rendered import of_kind, rendering

Pods = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Pods:
    return render(tmp_path_factory.mktemp("pods"), "KubernetesExecutor")


def render(folder: Path, executor: str) -> Pods:
    (template,) = of_kind(rendering("local"), "PodTemplate")
    (folder / "pod.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **template["template"]}))
    airflow = {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__EXECUTOR": executor}
    command = [sys.executable, "-m", "tests.dags.render", str(folder / "pod.yaml")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | airflow, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def container(tasks: Pods, task: str) -> dict[str, Any]:
    (found,) = tasks[task]["pod"]["spec"]["containers"]
    return dict(found)


def asked(tasks: Pods, task: str) -> dict[str, str]:
    """What the pod may use, but for disk; the same is set aside for it."""
    resources = container(tasks, task)["resources"]
    limits, requests = dict(resources["limits"]), dict(resources["requests"])
    assert limits.pop("ephemeral-storage") == "4Gi"
    assert requests.pop("ephemeral-storage") == "256Mi"
    assert limits == requests
    return limits


def variable(tasks: Pods, task: str, name: str) -> str | None:
    values = [item["value"] for item in container(tasks, task)["env"] if item["name"] == name]
    assert len(values) <= 1, "two values of one variable"
    return values[0] if values else None


def test_a_candidate_s_pod_has_what_problem_yaml_says(tasks: Pods) -> None:
    assert asked(tasks, "train.mlp") == {"cpu": "3.5", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert variable(tasks, "train.mlp", "OMP_NUM_THREADS") == "4"


def test_what_it_does_not_say_comes_from_the_default(tasks: Pods) -> None:
    assert asked(tasks, "train.hgb") == {"cpu": "2", "memory": "1Gi"}
    assert asked(tasks, "train.logistic") == asked(tasks, "evaluate") == {"cpu": "1", "memory": "1Gi"}


def test_the_refit_has_room_for_whichever_candidate_wins(tasks: Pods) -> None:
    assert asked(tasks, "refit") == {"cpu": "3.5", "memory": "8Gi", "nvidia.com/gpu": "1"}


def test_every_pod_keeps_the_rest_of_the_template(tasks: Pods) -> None:
    (template,) = of_kind(rendering("local"), "PodTemplate")
    given = template["template"]["spec"]
    (base,) = given["containers"]
    assert len(tasks) == 16
    for name, task in tasks.items():
        spec, found = task["pod"]["spec"], container(tasks, name)
        assert (found["name"], found["image"], found["args"]) == ("base", "closed-loop/pipeline:local", ["run"])
        for key in ("securityContext", "volumeMounts", "envFrom"):
            assert found[key] == base[key], (name, key)
        for key in ("securityContext", "serviceAccountName", "restartPolicy", "volumes", "enableServiceLinks"):
            assert spec[key] == given[key], (name, key)
        assert template["template"]["metadata"]["labels"].items() <= task["pod"]["metadata"]["labels"].items()
        assert task["pod"]["metadata"]["annotations"]["task_id"] == name


def test_a_sensor_waits_in_one_pod_and_elsewhere_gives_its_place_free(tasks: Pods, tmp_path: Path) -> None:
    assert [tasks[name]["mode"] for name in ("shadow", "canary")] == ["poke", "poke"]
    local = render(tmp_path, "LocalExecutor")
    assert [local[name]["mode"] for name in ("shadow", "canary")] == ["reschedule", "reschedule"]
    assert container(local, "train.mlp")["resources"] == container(local, "deploy")["resources"]


def test_a_retry_asks_for_the_pods_of_the_try_before_and_a_first_try_for_none(tasks: Pods) -> None:
    for task in tasks.values():
        (selector,) = task["asked"]
        pairs = [item.split("=") for item in selector.split(",") if "=" in item]
        labels = task["pod"]["metadata"]["labels"]
        assert {"task_id", "run_id", "try_number"} <= {name for name, _ in pairs}
        assert all(labels[name] == value for name, value in pairs)


def test_resources_name_candidates() -> None:
    content = load("flights").spec.model_dump()
    with pytest.raises(ValueError, match="resources names 'mpl', which is neither a candidate nor `default`"):
        ProblemSpec.model_validate({**content, "resources": {"mpl": {"memory": "8Gi"}}})
    for wrong in ("8GB", "8", "0Gi", "1.5Gi"):
        with pytest.raises(ValueError, match="memory"):
            Resources(memory=wrong)
