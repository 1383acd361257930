"""The Deployment controller: rolling updates by replica sets, their progress and its deadline, quota.

Written from https://kubernetes.io/docs/concepts/workloads/controllers/deployment: new pods are made up to maxSurge
above the wanted number, old ones ended while enough are available for maxUnavailable, sick ones first. The condition
Progressing becomes False when nothing has moved for progressDeadlineSeconds.
"""

import copy
import hashlib
import itertools
import json
import math
import time
from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes_api.fields import Json
from tests.kubernetes_api.store import Store

HASH = "pod-template-hash"
NUMBERS = itertools.count(1)


@dataclass
class Progress:
    """Of one Deployment: what was seen last, and when it last moved."""

    seen: tuple[int, int, int] = (0, 0, 0)
    template: str = ""
    done: bool = False  # this template's rollout came to its end: it has no deadline any more
    at: float = field(default_factory=time.monotonic)
    quota: str = ""


class Controller:
    """`most_pods` is the namespace's quota."""

    def __init__(self, store: Store) -> None:
        self.store, self.most_pods = store, math.inf
        self._progress: dict[str, Progress] = {}

    def step(self) -> None:
        for deployment in self.store.list("deployments"):
            progress = self._progress.setdefault(deployment["metadata"]["name"], Progress())
            progress.quota = ""
            if not deployment["spec"].get("paused"):
                self._reconcile(deployment, progress)
            self._report(deployment, progress)

    def _reconcile(self, deployment: Json, progress: Progress) -> None:
        wanted, least, most = _limits(deployment["spec"])
        new, old = self._pods(deployment)
        surplus = len(new) - wanted
        if surplus > 0:
            self._end(_sick_first(new)[:surplus])
            return
        for _ in range(min(wanted - len(new), most - len(new) - len(old))):
            self._start(deployment, progress)
        self._end_old(new, old, least)

    def _end_old(self, new: list[Json], old: list[Json], least: int) -> None:
        sick_new = sum(not is_ready(pod) for pod in new)
        room = len(new) + len(old) - least - sick_new  # never less than `least` may be left available
        sick = [pod for pod in old if not is_ready(pod)][: max(0, room)]
        available = sum(is_ready(pod) for pod in [*new, *old])
        well = [pod for pod in old if is_ready(pod)][: max(0, available - least)]
        self._end([*sick, *well])

    def _start(self, deployment: Json, progress: Progress) -> None:
        name, template = deployment["metadata"]["name"], copy.deepcopy(deployment["spec"]["template"])
        used = len(self.store.list("pods"))
        if used >= self.most_pods:
            limit = f"requested: pods=1, used: pods={used}, limited: pods={self.most_pods}"
            progress.quota = f'pods "{name}-" is forbidden: exceeded quota: pods, {limit}'
            return
        labels = template["metadata"]["labels"] | {HASH: _hash(template)}
        metadata = {"name": f"{name}-{labels[HASH]}-{next(NUMBERS):05d}", "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        self.store.create("pods", pod | {"status": {"phase": "Pending", "conditions": []}}, "controller")

    def _end(self, pods: list[Json]) -> None:
        for pod in pods:
            self.store.change("pods", pod["metadata"]["name"], _stamp, "controller")

    def _pods(self, deployment: Json) -> tuple[list[Json], list[Json]]:
        """Those of the present template, and the others; without those that end."""
        found = [
            pod
            for pod in self.store.list("pods", deployment["spec"]["selector"]["matchLabels"])
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] != "Failed"
        ]
        present = _hash(deployment["spec"]["template"])
        new = [pod for pod in found if pod["metadata"]["labels"][HASH] == present]
        return new, [pod for pod in found if pod not in new]

    def _report(self, deployment: Json, progress: Progress) -> None:
        (new, old), spec = self._pods(deployment), deployment["spec"]
        every, ready = [*new, *old], sum(is_ready(pod) for pod in [*new, *old])
        wanted, generation = spec.get("replicas", 1), deployment["metadata"]["generation"]
        done = len(new) == wanted == len(every) == ready
        self._move(progress, (len(new), len(old), ready), _hash(spec["template"]))
        progress.done = progress.done or done
        late = not progress.done and time.monotonic() - progress.at > spec.get("progressDeadlineSeconds", 600)
        status = {
            "observedGeneration": generation,
            "replicas": len(every),
            "updatedReplicas": len(new),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "conditions": _conditions(done, late, progress.quota),
        }
        self.store.set_status("deployments", deployment["metadata"]["name"], {k: v for k, v in status.items() if v})

    def _move(self, progress: Progress, seen: tuple[int, int, int], template: str) -> None:
        if (seen, template) != (progress.seen, progress.template):
            progress.at = time.monotonic()
        progress.done = progress.done and template == progress.template
        progress.seen, progress.template = seen, template


def _stamp(pod: Json) -> None:
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def is_ready(pod: Json) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"]["conditions"])


def _limits(spec: Json) -> tuple[int, int, int]:
    """Pods: wanted, at least available, at most. A quarter is the default; surge rounds up, unavailable down."""
    wanted = int(spec.get("replicas", 1))
    given = spec.get("strategy", {}).get("rollingUpdate", {})
    surge, unavailable = given.get("maxSurge", "25%"), given.get("maxUnavailable", "25%")
    return wanted, wanted - math.floor(_number(unavailable, wanted)), wanted + math.ceil(_number(surge, wanted))


def _number(text: Any, whole: int) -> float:
    return float(text[:-1]) / 100 * whole if isinstance(text, str) else float(text)


def _conditions(done: bool, late: bool, quota: str) -> list[Json]:
    progressing = {
        "type": "Progressing",
        "status": "True",
        "reason": "NewReplicaSetAvailable" if done else "ReplicaSetUpdated",
    }
    if late:
        progressing |= {
            "status": "False",
            "reason": "ProgressDeadlineExceeded",
            "message": "has timed out progressing.",
        }
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": quota}
    return [progressing, *([failure] if quota else [])]


def _sick_first(pods: list[Json]) -> list[Json]:
    return sorted(pods, key=is_ready)


def _hash(template: Json) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
