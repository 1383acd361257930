"""A DAG made as ours are, for the executor's test: a task, one that the kernel ends at its first try, and a sensor."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import PokeReturnValue, TaskGroup, dag, task
from kubernetes import client, config

import pipeline.containers.cluster
from core.schema import Resources
from dags import pods
from problems import load

SPEC = load("flights").spec.model_copy(update={"resources": {"mlp": Resources(cpu=2, memory="3Gi")}})
POKES = Path(os.environ["TEST_FOLDER"], "pokes")


def connect() -> Any:
    """Outside of a cluster there is no account of a pod."""
    config.load_kube_config(os.environ["KUBECONFIG"])
    return client.CoreV1Api(), "closed-loop"


pipeline.containers.cluster.connect = connect


@task
def small() -> str:
    print("a line of a small task")
    return "small"


@task
def hungry(before: str, **context: Any) -> str:
    print(f"try {context['ti'].try_number} begins with {os.environ['OMP_NUM_THREADS']} threads")
    if context["ti"].try_number == 1:
        time.sleep(60)
    return "hungry"


@task.sensor(poke_interval=1, timeout=60, mode=pods.WAITING)
def wait(before: str) -> PokeReturnValue:
    with POKES.open("a") as file:
        file.write("poke\n")
    return PokeReturnValue(is_done=len(POKES.read_text().splitlines()) >= 4)


@dag(schedule=None, catchup=False, default_args={**pods.default_args(SPEC), "retry_delay": timedelta(seconds=1)})
def proof() -> None:
    with TaskGroup("train"):
        fed = hungry.override(executor_config=pods.of(SPEC, "mlp"))(small())
    wait(fed)


proof()
