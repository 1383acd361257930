"""Watches a Deployment until each of its pods says that it serves what it should. It changes nothing."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import DeployError
from pipeline.deploy.kubernetes_api import Cluster, Unavailable
from pipeline.deploy.kubernetes_words import Deployment, Json, Pod, Trouble


class Superseded(DeployError):
    """Somebody else deployed another version meanwhile. Theirs stands."""


@dataclass(frozen=True)
class PodStatus:
    """One pod, and what it says of itself. `version` is what it was told to serve, `serves` what it answers with, a
    canary's `percent` of the entities; others get the champion's answer.
    """

    name: str
    deployment: str
    version: str | None
    ready: bool
    serves: str | None
    percent: float
    shadow: str | None
    why: str


@dataclass(frozen=True)
class Look:
    """One look at a rollout. `progress` changes while it moves; `trouble` is what is in its way just now."""

    done: bool
    progress: tuple[int, ...]
    trouble: Trouble | None
    deadline_s: float
    is_late: bool = False


class Unchanged:
    """How long something has been what it is."""

    def __init__(self) -> None:
        self._what: object = None
        self._since = time.monotonic()

    def for_s(self, what: object) -> float:
        now = time.monotonic()
        if what != self._what:
            self._what, self._since = what, now
        return now - self._since


@dataclass(frozen=True)
class Rollout:
    """Of one version, in the role of champion, or of the canary for `percent` of the entities that come to its pods;
    `shadow` is what a champion's pods are to have in shadow.

    A fault that somebody has to mend may last `patience_s`. What moves may take as long as it moves: the limit is the
    Deployment's progressDeadlineSeconds without any progress.
    """

    cluster: Cluster
    name: str
    version: str
    patience_s: float
    poll_s: float
    shadow: str | None = None
    percent: float | None = None

    def wait(self) -> None:
        """Return when every pod is ready and serves the version. Raises DeployError when waiting cannot help."""
        troubled, still, look = Unchanged(), Unchanged(), self._look()
        while not look.done:
            trouble = look.trouble or Trouble("the cluster gives no reason", lasting=False)
            lasted_s, stood_s = troubled.for_s(trouble.lasting), still.for_s(look.progress)
            if trouble.final or (trouble.lasting and lasted_s > self.patience_s):
                raise DeployError(trouble.words)
            if look.is_late or stood_s > look.deadline_s:
                raise DeployError(f"no progress for {look.deadline_s:g} s: {trouble.words}")
            time.sleep(self.poll_s)
            look = self._look()

    def _look(self) -> Look:
        try:
            return self._looked()
        except Unavailable as error:
            return Look(False, (), Trouble(str(error)), self.patience_s)

    def _looked(self) -> Look:
        found = deployment(self.cluster, self.name)
        if found.pin != self.version:
            raise Superseded(f"version {found.pin} was deployed by somebody else while {self.version} was rolled out")
        pods = [Pod(each) for each in self.cluster.pods(found.labels)]
        mine = [pod for pod in pods if pod.version == self.version]
        ready = sum(pod.ready for pod in mine)
        whole = found.rolled_out and ready == found.replicas  # what was evicted is replaced, but listed still
        trouble = found.trouble or next(self._troubles([pod for pod in mine if not (whole and pod.ends)]), None)
        done = whole and not trouble
        return Look(done, (*found.progress, ready), trouble, found.deadline_s, found.is_late)

    def _troubles(self, pods: list[Pod]) -> Iterator[Trouble]:
        yield from filter(None, (pod.trouble for pod in pods))
        for pod in pods:
            if not pod.ends and pod.runs and (found := self._of_server(pod)):
                yield found

    def _of_server(self, pod: Pod) -> Trouble | None:
        """What its server says."""
        said = self.cluster.ask(pod.json, "/release")
        if said is None:
            closed = "; is the way from here to the serving pods, port 8000, open?" if pod.ready else " yet"
            return Trouble(f"pod {pod.name} does not answer us{closed}", lasting=pod.ready)
        for version in filter(None, (self.version, self.shadow)):
            if reason := said["refused"].get(version):
                return Trouble(f"pod {pod.name} refuses version {version}: {reason}", final=True)
        if not pod.ready:
            return Trouble(f"pod {pod.name} is not ready: {_reason(self.cluster, pod)}", lasting=False)
        served = serves(said)
        if served != (self.version, self.percent or 0.0):
            return Trouble(f"pod {pod.name} serves {_said(*served)}, not {_said(self.version, self.percent or 0.0)}")
        if said["shadow"] != self.shadow:
            return Trouble(f"pod {pod.name} has {said['shadow']} in shadow, not {self.shadow}")
        return None


def deployment(cluster: Cluster, name: str) -> Deployment:
    found = cluster.deployment(name)
    if found is None:
        raise DeployError(f"there is no deployment {name} in namespace {cluster.namespace}; see docs/kubernetes.md")
    return Deployment(found)


def asked(cluster: Cluster, name: str, pod: Pod) -> PodStatus:
    """What a pod of this Deployment really serves."""
    said = cluster.ask(pod.json, "/release") if pod.runs else None
    trouble = pod.trouble.words if pod.trouble else "" if pod.ready else _reason(cluster, pod)
    (version, percent), shadow = (serves(said), said["shadow"]) if said else ((None, 0.0), None)
    return PodStatus(pod.name, name, pod.version, pod.ready, version, percent, shadow, trouble)


def serves(said: Json) -> tuple[str | None, float]:
    """The version that a server is there for, by its /release: the canary, with its share, or else the champion."""
    if said["canary"] is not None:
        return str(said["canary"]), float(said["percent"])
    return None if said["champion"] is None else str(said["champion"]), 0.0


def _said(version: str | None, percent: float) -> str:
    return f"{version}{f' to {percent:g} % of the entities' if percent else ''}"


def _reason(cluster: Cluster, pod: Pod) -> str:
    said = cluster.ask(pod.json, "/readyz") if pod.runs else None
    return str((said or {}).get("reason") or "it does not answer yet")
