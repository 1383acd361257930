"""Airflow's scheduler with the KubernetesExecutor, really run: against an API server and a node of our own, with the
pod template and the settings of k8s/, and MLflow for the logs.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from core.config import ROOT
from pipeline.stack import credentials
from pipeline.stack.ports import any_free
from pipeline.stack.processes import GRACE_S, log_tail, spawn, stop_all
from pipeline.stack.services import airflow_environment, airflow_processes
from tests.executor.cluster import Json, PodCluster
from tests.k8s.rendered import find, rendering

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(600)]
PATIENCE_S = 240
OURS = ("LOGGING", "DELETE_WORKER_PODS", "EXECUTOR=")  # of k8s/base/airflow.env


@dataclass(frozen=True)
class Ran:
    """What is left when the DAG run has ended."""

    state: str
    tasks: dict[str, Json]
    logs: dict[tuple[str, int], str]  # of a task's try
    cluster: PodCluster
    folder: Path

    def pods(self, task: str) -> list[Json]:
        return [pod for pod in self.cluster.made if pod["metadata"]["annotations"]["task_id"] == task]


def starves(pod: Json, wrote: str) -> bool:
    return "try 1 begins" in wrote


@pytest.fixture(scope="module")
def ran(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("executor")
    for name in ("home", "dags", "pods"):
        (folder / name).mkdir()
    shutil.copy(Path(__file__).parent / "proof.py", folder / "dags")
    template = find(rendering("local"), "PodTemplate", "airflow-task")["template"]
    (folder / "pod.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", **template}))
    secrets, port = credentials.read_or_create(folder / "home"), any_free()
    env = os.environ | airflow_environment(folder / "home", f"http://127.0.0.1:{port}", secrets) | settings(folder)
    env |= {"LOOP_MLFLOW_URL": mlflow_url}
    cluster = PodCluster(folder / "pods", starves)
    places = ("KUBECONFIG", "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE")
    env |= dict.fromkeys(places, str(cluster.kubeconfig()))
    cluster.environment = env | {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "of-pods")}
    with airflow(port, env, folder) as api:
        login = {"username": credentials.USER, "password": secrets[credentials.PASSWORD]}
        api.headers["authorization"] = f"Bearer {api.post('/auth/token', json=login).json()['access_token']}"
        yield played(api, cluster, folder)
    cluster.close()


def settings(folder: Path) -> dict[str, str]:
    lines = (ROOT / "k8s/base/airflow.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if any(word in line for word in OURS) and line[0] != "#")
    executor = {"IN_CLUSTER": "False", "NAMESPACE": "closed-loop", "POD_TEMPLATE_FILE": str(folder / "pod.yaml")}
    own = {
        "LOOP_HOME": str(folder / "home"),
        "PYTHONPATH": str(ROOT),
        "TEST_FOLDER": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
    }
    return {**given, **own, **{f"AIRFLOW__KUBERNETES_EXECUTOR__{name}": value for name, value in executor.items()}}


@contextmanager
def airflow(port: int, env: dict[str, str], folder: Path) -> Iterator[httpx.Client]:
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, check=True, capture_output=True)
    services = airflow_processes(port, env)[1:]
    started = [spawn(service, folder / f"{service.name}.log") for service in services]
    records = [record for _, record in started]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as api:
            until = time.monotonic() + PATIENCE_S
            while not healthy(api):
                assert time.monotonic() < until, "\n".join(log_tail(record.log) for record in records)
                time.sleep(0.5)
            yield api
    finally:
        stop_all(records, GRACE_S)
        for process, _ in started:
            process.wait()


def healthy(api: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        found = api.get("/api/v2/monitor/health").json()
        return all(found[name]["status"] == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))
    return False


def played(api: httpx.Client, cluster: PodCluster, folder: Path) -> Ran:
    """Run the DAG to its end, and until the logs of its pods have been sent."""
    place, until = "/api/v2/dags/proof", time.monotonic() + PATIENCE_S
    while api.get(place).is_error:
        assert time.monotonic() < until
        time.sleep(0.5)
    api.patch(place, json={"is_paused": False}).raise_for_status()
    run = api.post(f"{place}/dagRuns", json={"logical_date": None}).json()["dag_run_id"]
    run = f"{place}/dagRuns/{run.replace('+', '%2B')}"
    while (state := api.get(run).json()["state"]) in ("queued", "running") or "Running" in phases(cluster):
        assert time.monotonic() < until, (state, phases(cluster))
        time.sleep(0.5)
    tasks = {item["task_id"]: item for item in api.get(f"{run}/taskInstances").json()["task_instances"]}
    tries = [(name, n) for name, item in tasks.items() for n in range(1, item["try_number"] + 1)]
    logs = {(name, n): api.get(f"{run}/taskInstances/{name}/logs/{n}").text for name, n in tries}
    return Ran(state, tasks, logs, cluster, folder)


def phases(cluster: PodCluster) -> list[str]:
    return [pod["status"]["phase"] for pod in cluster.made]


def test_a_dag_run_succeeds_each_task_in_a_pod_of_its_own(ran: Ran) -> None:
    assert ran.state == "success"
    assert {name: (item["state"], item["try_number"]) for name, item in ran.tasks.items()} == {
        "train.small": ("success", 1),
        "train.hungry": ("success", 2),
        "wait": ("success", 1),
    }
    assert [len(ran.pods(name)) for name in ("train.small", "train.hungry", "wait")] == [1, 2, 1]


def test_a_log_is_shown_when_its_pod_has_gone(ran: Ran) -> None:
    assert "a line of a small task" in ran.logs["train.small", 1]
    assert "MLflow's artifacts" in ran.logs["train.small", 1]
    assert not list((ran.folder / "logs").rglob("attempt=*.log")), "Airflow's own processes have no logs of tasks"


def test_the_retry_of_a_pod_that_ran_out_of_memory_says_so_and_what_to_change(ran: Ran) -> None:
    said = ran.logs["train.hungry", 2]
    assert "the try before this one was lost: pod proof-train-hungry" in said
    assert "ran out of memory: it may use 3Gi. Give it more" in said
    assert "problem.yaml" in said


def test_a_candidate_s_pod_is_made_with_what_problem_yaml_says(ran: Ran) -> None:
    (container,) = ran.pods("train.hungry")[0]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "3Gi", "ephemeral-storage": "4Gi"}
    assert "try 2 begins with 2 threads" in ran.logs["train.hungry", 2]


def test_a_sensor_waits_in_one_pod(ran: Ran) -> None:
    assert (ran.folder / "pokes").read_text().splitlines() == ["poke"] * 4
    assert len(ran.pods("wait")) == 1


def test_only_the_pod_that_failed_is_kept(ran: Ran) -> None:
    kept = [pod["metadata"]["annotations"] for pod in ran.cluster.pods.values()]
    assert [(pod["task_id"], pod["try_number"]) for pod in kept] == [("train.hungry", "1")]


def test_the_executor_asks_for_nothing_that_its_role_does_not_allow(ran: Ran) -> None:
    role = find(rendering("local"), "Role", "airflow-scheduler")
    allowed: set[Any] = {verb for rule in role["rules"] if "pods" in rule["resources"] for verb in rule["verbs"]}
    assert {"create", "list", "watch", "delete"} <= ran.cluster.verbs <= allowed
