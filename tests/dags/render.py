"""Prints as JSON, for every task of the life cycle, the pod that Airflow's KubernetesExecutor would ask for.

    python -m tests.dags.render POD_TEMPLATE_FILE

It goes the way that a task goes: the DAG is written for the database and read back as the scheduler reads it, and the
provider puts template, task and override together. In a process of its own, since Airflow rearranges logging.
"""

import json
import sys
from types import SimpleNamespace
from typing import Any

RESOURCES = {
    "default": {"memory": "1Gi"},
    "mlp": {"cpu": 3.5, "memory": "8Gi", "gpu": 1},
    "hgb": {"cpu": 2},
}


def main(template: str) -> None:
    give_resources()
    from airflow.serialization.serialized_objects import DagSerialization

    from dags.lifecycle import lifecycle

    dag = lifecycle()
    read = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    modes = {task.task_id: getattr(task, "mode", "") for task in dag.tasks}
    out = {
        name: {"mode": modes[name], "pod": pod(task, template), "asked": asked(name)}
        for name, task in read.task_dict.items()
    }
    print(json.dumps(out))


def give_resources() -> None:
    """Before anything imports `load` by name."""
    import problems
    from core.schema import ProblemSpec

    found = problems.load("flights")
    spec = ProblemSpec.model_validate({**found.spec.model_dump(), "resources": RESOURCES})
    problems.load = lambda name=None: problems.Problem(spec)


def asked(task: str) -> list[str]:
    """By which labels the task's first and second tries look for the pods of the try before."""
    from dags import pods
    from pipeline import tries

    selectors: list[str] = []
    tries.explain = selectors.append
    for attempt in (1, 2):
        ti = SimpleNamespace(dag_id="lifecycle", task_id=task, run_id="a run", try_number=attempt, map_index=-1)
        pods.last_try({"ti": ti})
    return selectors


def pod(task: Any, template: str) -> dict[str, Any]:
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    return PodGenerator.serialize_pod(
        PodGenerator.construct_pod(
            dag_id="lifecycle",
            task_id=task.task_id,
            pod_id="a-pod",
            try_number=1,
            kube_image=None,  # type: ignore[arg-type]  # as Airflow passes it where the template names the image
            date=None,
            args=["run"],
            pod_override_object=PodGenerator.from_obj(task.executor_config),
            base_worker_pod=PodGenerator.deserialize_model_file(template),
            namespace="closed-loop",
            scheduler_job_id="1",
            run_id="a run",
            with_mutation_hook=True,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
