"""Why the pod of a task's earlier try did not end by itself, in words; asked by the retry, on Kubernetes only.

A process that is killed cannot say so in its own log, and Airflow records no more than that it failed. Failed pods are
kept for a while, so the cluster still knows. A try that failed by an exception has said why by itself.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from core.memory import ADVICE, words

log = logging.getLogger(__name__)
KILLED = 137  # 128 + SIGKILL


def explain(selector: str) -> None:
    """Log why the pods with these labels were lost."""
    from pipeline.containers.cluster import connect

    api, namespace = connect()
    answer = api.list_namespaced_pod(namespace, label_selector=selector, _preload_content=False)
    for pod in json.loads(answer.data)["items"]:
        if reason := why(pod):
            log.error("the try before this one was lost: %s", reason)


def why(pod: Mapping[str, Any]) -> str | None:
    """None: it ended by itself, or runs."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    ended = [s["state"]["terminated"] for s in status.get("containerStatuses", []) if "terminated" in s["state"]]
    if any(one.get("reason") == "OOMKilled" for one in ended):
        return words(f"pod {name}", 1, _limit(pod))
    if status.get("reason") == "Evicted":
        return f"pod {name} was evicted from its node: {status.get('message', 'no reason given').strip()} {ADVICE}"
    for condition in status.get("conditions", []):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            return f"pod {name} was taken off its node ({condition['reason']}): {condition.get('message', '')}"
    if any(one.get("exitCode") == KILLED for one in ended):
        return words(f"pod {name}", 0, _limit(pod))
    return None


def _limit(pod: Mapping[str, Any]) -> str:
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return str(limits.get("memory", "its node's memory"))
