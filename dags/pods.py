"""What a task's pod is like, where Airflow runs each task in a pod (KubernetesExecutor). Other executors ignore it.

Everything that is the same for all tasks stands in k8s/base/airflow/task-pod-template.yaml; here is what differs:
CPU, memory and GPU, from `resources` of problem.yaml.
"""

from datetime import timedelta
from math import ceil
from typing import Any

from airflow.sdk.configuration import conf

from core.schema import ProblemSpec, Resources

IN_PODS = "KubernetesExecutor" in conf.get("core", "executor", fallback="")
# A sensor looks every few seconds. Where that would start a pod each time, one pod waits instead: it is small.
WAITING = "poke" if IN_PODS else "reschedule"


def default_args(spec: ProblemSpec) -> dict[str, Any]:
    """Of every task of a DAG."""
    args = {"retries": 2, "retry_delay": timedelta(seconds=5), "executor_config": of(spec)}
    return {**args, "on_execute_callback": last_try} if IN_PODS else args


def of(spec: ProblemSpec, *candidates: str) -> dict[str, Any]:
    """The executor_config of a task that fits any of these candidates; of none: `default`."""
    chosen = [needed(spec, name) for name in candidates or ("default",)]
    most = Resources(
        cpu=max((one.cpu or 0.0 for one in chosen), default=0.0) or None,
        memory=max((one.memory for one in chosen if one.memory), key=mebibytes, default=None),
        gpu=max(one.gpu for one in chosen),
    )
    if not IN_PODS or most == Resources():
        return {}
    return {"pod_override": _override(most)}


def needed(spec: ProblemSpec, name: str) -> Resources:
    """What stands under this name; what does not stand there, under `default`."""
    default, own = spec.resources.get("default", Resources()), spec.resources.get(name, Resources())
    return default.model_copy(update=own.model_dump(exclude_unset=True))


def mebibytes(memory: str) -> int:
    return int(memory[:-2]) * {"Mi": 1, "Gi": 1024}[memory[-2:]]


def last_try(context: Any) -> None:
    """In a retry: say why the pod of the try before did not end by itself, where the cluster still knows."""
    ti = context["ti"]
    if ti.try_number == 1:
        return
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    from pipeline import tries

    tries.explain(
        PodGenerator.build_selector_for_k8s_executor_pod(  # type: ignore[no-untyped-call]
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            try_number=ti.try_number - 1,
            map_index=ti.map_index,
        )
    )


def _override(most: Resources) -> Any:
    """Requests are limits: such a pod is evicted last. Airflow replaces the template's resources as a whole."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    amounts = {"cpu": f"{most.cpu or 1:g}", "memory": most.memory or "2Gi"}
    amounts |= {"nvidia.com/gpu": str(most.gpu)} if most.gpu else {}
    requests, limits = ({**amounts, "ephemeral-storage": disk} for disk in ("256Mi", "4Gi"))
    container = {
        "name": "base",
        "resources": {"requests": requests, "limits": limits},
        "env": [{"name": "OMP_NUM_THREADS", "value": str(ceil(most.cpu or 1))}],
    }
    return PodGenerator.deserialize_model_dict({"spec": {"containers": [container]}})
