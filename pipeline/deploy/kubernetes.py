"""The Kubernetes target: a rolling update of pods that serve one pinned version each, and a canary's pods beside them.

What is served where stands in the pods' LOOP_VERSION, which nobody but this target sets. A canary is a second
Deployment behind the same Service, with as many pods as the wanted share needs; where one pod is more than the share,
it answers the rest as the champion would.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import DeployError
from core.releases import Release
from pipeline.deploy.kubernetes_api import Changed, Cluster
from pipeline.deploy.kubernetes_rollout import PodStatus, Rollout, Superseded, asked, deployment
from pipeline.deploy.kubernetes_words import BEFORE, LABEL, PERCENT, ROLE, VERSION, Deployment, Json, Pod

log = logging.getLogger(__name__)
SERVING, CANARY = "serving", "serving-canary"
MOST = 90.0  # percent that a canary can get: nine pods for each of the champion's
TRIES = 20  # to change an object that others keep changing


@dataclass(frozen=True)
class RolledBack:
    version: str
    seconds: float


@dataclass(frozen=True)
class KubernetesTarget:
    """`patience_s`: how long a fault that somebody has to mend may last before the version before is put back."""

    cluster: Cluster
    patience_s: float = 60.0
    poll_s: float = 1.0

    def apply(self, release: Release) -> None:
        """Roll out what is released, and see every ready pod answer with it. Applying it again changes nothing.

        Raises DeployError with a reason in words; then the version before is back, and no canary is left. When somebody
        else deploys meanwhile, theirs stands and this one raises Superseded.
        """
        release = release.loaded
        if release.champion is None:
            raise DeployError("there is no champion to deploy")
        if release.canary is None and self._pin(CANARY) != release.champion:
            self._end_canary()
        try:
            self._roll(release.champion, release.in_shadow)
            if release.canary:
                self._start_canary(release.canary, release.percent)
            else:  # it was promoted, and answered until now
                self._end_canary()
        except Superseded:
            raise
        except DeployError as error:
            self._end_canary_after(error)
            raise

    def status(self) -> Release | None:
        """What the ready pods answer with; None where there are none. Raises DeployError while they differ."""
        ready = [pod for pod in self.pods() if pod.ready]
        champions = [pod for pod in ready if pod.deployment == SERVING]
        canaries = [pod for pod in ready if pod.deployment == CANARY]
        if not champions:
            return None
        champion, shadow = _agreed(champions)
        canary, _ = _agreed(canaries) if canaries else (None, None)
        percent = sum(pod.percent for pod in canaries) / len(ready)
        return Release(champion, canary or shadow, round(percent, 2), shadow is not None and canary is None)

    def pods(self) -> list[PodStatus]:
        """What each pod really serves, by its own account. Those that end are left out."""
        found = []
        for name in (SERVING, CANARY):
            if json := self.cluster.deployment(name):
                pods = [Pod(each) for each in self.cluster.pods(Deployment(json).labels)]
                found += [asked(self.cluster, name, pod) for pod in pods if not pod.ends]
        return found

    def rollback(self) -> RolledBack:
        """Back to the version that all pods served before this one, in one call; the canary ends. It asks no registry,
        and tells none: `loop rollback` does both.
        """
        started, before = time.monotonic(), deployment(self.cluster, SERVING).notes.get(BEFORE)
        if not before:
            raise DeployError(f"deployment {SERVING} has served no other version before: there is none to go back to")
        self.apply(Release(before, None))
        return RolledBack(before, time.monotonic() - started)

    # a rolling update ---------------------------------------------------------------------------------------------

    def _roll(self, version: str, shadow: str | None) -> None:
        found = deployment(self.cluster, SERVING)
        proven = found.notes.get(LABEL) or found.pin
        if found.pin != version:
            log.info("version %s in the place of %s", version, found.pin)
            self._change(SERVING, version)
        try:
            self._rollout(SERVING, version, shadow=shadow).wait()
        except Superseded:
            raise
        except DeployError as error:
            said = f"version {version} is not deployed: {error}"
            raise DeployError(f"{said}; {self._put_back(version, proven)}") from error
        self._note(version)

    def _put_back(self, failed: str, proven: str | None) -> str:
        """Undo, unless somebody else did something already. Returns what came of it, in words."""
        if failed == proven:
            return "it is the last version that all pods served, so it stays"
        try:
            self._change(SERVING, proven, only=failed)
            if proven is None:
                return "nothing was deployed before"
            self._rollout(SERVING, proven).wait()
            return f"version {proven} is back"
        except DeployError as error:
            before = f"version {proven}" if proven else "what was there before"
            return f"{before} could not be put back: {error}"

    def _note(self, version: str) -> None:
        """Remember what all pods were seen to serve. After going back there is nothing further to go back to."""
        notes = deployment(self.cluster, SERVING).notes
        proven = notes.get(LABEL)
        if proven != version:
            before = proven if proven and notes.get(BEFORE) != version else ""
            self._change(SERVING, version, only=version, notes={LABEL: version, BEFORE: before})

    def _rollout(self, name: str, version: str, **what: Any) -> Rollout:
        return Rollout(self.cluster, name, version, self.patience_s, self.poll_s, **what)

    def _change(self, name: str, version: str | None, only: str | None = None, **more: dict[str, str]) -> None:
        """Pin a version, in one step with looking at what is there; with `only`, as long as that version is pinned."""
        for _ in range(TRIES):
            found = deployment(self.cluster, name)
            if only is not None and found.pin != only:
                raise Superseded(f"version {found.pin} was deployed by somebody else while {only} was rolled out")
            try:
                self.cluster.apply(name, fields(found, version, **{"notes": found.notes, **more}))
                return
            except Changed:
                continue
        raise DeployError(f"deployment {name} is changed by others all the time, so it could not be changed")

    # the canary ---------------------------------------------------------------------------------------------------

    def _start_canary(self, version: str, percent: float) -> None:
        """First the version, then the pods, so that none starts with another one."""
        if self.cluster.deployment(CANARY) is None:
            raise DeployError(f"there is no deployment {CANARY}; the component k8s/components/canary makes it")
        n, share = canary_size(deployment(self.cluster, SERVING).replicas, percent)
        found, role = deployment(self.cluster, CANARY), {ROLE: "canary", PERCENT: f"{share:g}"}
        if found.pin != version or not role.items() <= found.environment.items():
            self._change(CANARY, version, role=role)
        if found.replicas != n:
            self.cluster.scale(CANARY, n)
        try:
            self._rollout(CANARY, version, percent=share).wait()
        except Superseded:
            raise
        except DeployError as error:
            raise DeployError(f"the canary of version {version} does not start: {error}; it is removed") from error
        log.info("the canary of version %s has %d pods, each for %g %% of what comes to it", version, n, share)

    def _end_canary(self) -> None:
        """Return when none of its pods answers any more."""
        found = self.cluster.deployment(CANARY)
        if found is None:
            return
        if Deployment(found).replicas:
            self.cluster.scale(CANARY, 0)
        until = time.monotonic() + self.patience_s
        while left := [pod.name for pod in map(Pod, self.cluster.pods(Deployment(found).labels)) if not pod.ends]:
            if time.monotonic() > until:
                raise DeployError(f"the canary's pods do not end: {', '.join(left)}")
            time.sleep(self.poll_s)

    def _end_canary_after(self, error: DeployError) -> None:
        try:
            self._end_canary()
        except DeployError as second:
            raise DeployError(f"{error}; and the canary could not be removed: {second}") from error

    def _pin(self, name: str) -> str | None:
        found = self.cluster.deployment(name)
        return Deployment(found).pin if found else None


def canary_size(champions: int, percent: float) -> tuple[int, float]:
    """How many pods make that share, beside so many of the champion; and the percent of the entities for which each of
    them answers with the canary, since pods come in whole numbers.
    """
    share = min(percent, MOST)
    pods = max(1, math.ceil(champions * share / (100 - share)))
    return pods, round(min(100.0, share * (champions + pods) / pods), 2)


def fields(found: Deployment, version: str | None, notes: dict[str, str], role: dict[str, str] | None = None) -> Json:
    """All that the target owns of a Deployment; what it leaves out, it gives up."""
    metadata: Json = {"resourceVersion": found.resource_version, **({"annotations": notes} if notes else {})}
    environment = [{"name": name, "value": value} for name, value in {VERSION: version, **(role or {})}.items()]
    containers = [{"name": found.container, "env": environment}]
    template: Json = {"metadata": {"labels": {LABEL: version}}, "spec": {"containers": containers}}
    return {"metadata": metadata, **({"spec": {"template": template}} if version else {})}


def _agreed(pods: Sequence[PodStatus]) -> tuple[str | None, str | None]:
    """Version and shadow of pods that all say the same. Raises DeployError where they do not."""
    found = {(pod.serves, pod.shadow) for pod in pods}
    if len(found) > 1:
        said = ", ".join(f"{pod.name} serves {pod.serves}" for pod in pods)
        raise DeployError(f"pods differ, so a rollout is under way or was cut short: {said}")
    return found.pop()
