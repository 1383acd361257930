"""What a Deployment and its pods say of a rollout, in words. Works on the API's JSON; asks nobody, waits for nothing.

Fields: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources (Deployment, Pod).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

Json = dict[str, Any]
VERSION, ROLE, PERCENT = "LOOP_VERSION", "LOOP_ROLE", "LOOP_CANARY_PERCENT"
LABEL = "closed-loop/version"  # of the pods; as annotation of the Deployment: seen served by all of them
BEFORE = "closed-loop/before"  # the version that was seen served before
NO_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"}
NOT_MADE = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CreatePodSandboxError"}
FOREVER = {"ErrImageNeverPull", "InvalidImageName"}


@dataclass(frozen=True)
class Trouble:
    """What stands in a rollout's way. When `final`, waiting cannot help; when `lasting`, somebody has to act, unless it
    goes away within moments; the rest is part of every start.
    """

    words: str
    final: bool = False
    lasting: bool = True


@dataclass(frozen=True)
class Deployment:
    json: Json

    @property
    def name(self) -> str:
        return str(self.json["metadata"]["name"])

    @property
    def replicas(self) -> int:
        return int(self.json["spec"].get("replicas", 1))

    @property
    def labels(self) -> dict[str, str]:
        """By which its pods are found."""
        return dict(self.json["spec"]["selector"]["matchLabels"])

    @property
    def deadline_s(self) -> float:
        return float(self.json["spec"].get("progressDeadlineSeconds", 600))

    @property
    def notes(self) -> dict[str, str]:
        """The target's own annotations."""
        found: dict[str, str] = self.json["metadata"].get("annotations", {})
        return {name: found[name] for name in (LABEL, BEFORE) if name in found}

    @property
    def resource_version(self) -> str:
        return str(self.json["metadata"]["resourceVersion"])

    @property
    def pin(self) -> str | None:
        """The version that its pods are to serve; None while they follow the registry."""
        return self.environment.get(VERSION)

    @cached_property
    def environment(self) -> dict[str, str]:
        """What is set in so many words."""
        return {item["name"]: item["value"] for item in self._container.get("env", []) if "value" in item}

    @property
    def container(self) -> str:
        """The server's container: of that name, or the first."""
        return str(self._container["name"])

    @property
    def progress(self) -> tuple[int, ...]:
        """Changes while a rollout moves."""
        names = "updatedReplicas", "readyReplicas", "replicas"
        return (self.replicas, *(self._status(name) for name in names))

    @property
    def rolled_out(self) -> bool:
        """As `kubectl rollout status` sees it: every pod is of the present template and available, no other is left."""
        if self._status("observedGeneration") < int(self.json["metadata"]["generation"]):
            return False
        return all(self._status(name) == self.replicas for name in ("updatedReplicas", "replicas", "availableReplicas"))

    @property
    def trouble(self) -> Trouble | None:
        if self.json["spec"].get("paused"):
            return Trouble(f"deployment {self.name} is paused; `kubectl rollout resume` lets it go on", final=True)
        if not self.replicas:
            return Trouble(f"deployment {self.name} is scaled to no pods; `kubectl scale` gives it some", final=True)
        if refused := self._condition("ReplicaFailure", "True"):
            quota = "the namespace's quota is used up" if "exceeded quota" in refused["message"] else "pods are refused"
            return Trouble(f"{quota}: {refused['message']}")
        return None

    @property
    def is_late(self) -> bool:
        """Without progress for progressDeadlineSeconds."""
        if self._status("observedGeneration") < int(self.json["metadata"]["generation"]):
            return False  # that is said of the template before
        found = self._condition("Progressing", "False")
        return found is not None and found.get("reason") == "ProgressDeadlineExceeded"

    @property
    def _container(self) -> Json:
        containers: list[Json] = self.json["spec"]["template"]["spec"]["containers"]
        return next((each for each in containers if each["name"] == "serving"), containers[0])

    def _status(self, name: str) -> int:
        return int(self.json.get("status", {}).get(name, 0))

    def _condition(self, kind: str, status: str) -> Json | None:
        found: list[Json] = self.json.get("status", {}).get("conditions", [])
        return next((each for each in found if each["type"] == kind and each["status"] == status), None)


@dataclass(frozen=True)
class Pod:
    json: Json

    @property
    def name(self) -> str:
        return str(self.json["metadata"]["name"])

    @property
    def version(self) -> str | None:
        """What it is to serve; None while it follows the registry."""
        labels: dict[str, str] = self.json["metadata"].get("labels", {})
        return labels.get(LABEL)

    @property
    def ends(self) -> bool:
        """It is being deleted, or was ended: it answers nobody any more."""
        return "deletionTimestamp" in self.json["metadata"] or self._phase in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        return not self.ends and self._is("Ready")

    @property
    def runs(self) -> bool:
        return self._phase == "Running"

    @property
    def trouble(self) -> Trouble | None:
        """Why it is not ready, as far as the cluster knows."""
        if self.ready or "deletionTimestamp" in self.json["metadata"]:
            return None
        status = self.json.get("status", {})
        if self._phase == "Failed":
            return Trouble(f"pod {self.name} was ended: {status.get('reason', '')} {status.get('message', '')}".strip())
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
            if found := self._of_container(container):
                return found
        unscheduled = self._condition("PodScheduled")
        if unscheduled.get("status") == "False":
            why = unscheduled.get("message", "")
            return Trouble(f"no node takes pod {self.name}: {why}", lasting=False)  # a node may come
        return None

    def _of_container(self, container: Json) -> Trouble | None:
        waiting = container.get("state", {}).get("waiting", {})
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in NO_IMAGE:
            said = f"pod {self.name}: the image {container['image']} cannot be pulled: {message or reason}"
            return Trouble(said, final=reason in FOREVER)
        if reason in NOT_MADE:
            return Trouble(f"pod {self.name} cannot be made: {message or reason}")
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
        return self._crashed(container, ended) if ended and not container.get("ready") else None

    def _crashed(self, container: Json, ended: Json) -> Trouble | None:
        if ended.get("exitCode") == 0 and not container.get("restartCount"):
            return None  # a step that is done
        if ended.get("reason") == "OOMKilled":
            limit = self._limit(container["name"])
            said = f"pod {self.name} ran out of memory{limit}; raise resources.limits.memory of {container['name']}"
            return Trouble(said)
        times = f"restarted {container.get('restartCount', 0)} times"
        look = f"`kubectl logs {self.name} --previous` says why"
        return Trouble(f"pod {self.name} crashes: exit code {ended.get('exitCode')}, {times}; {look}")

    def _limit(self, container: str) -> str:
        every = [*self.json["spec"].get("initContainers", []), *self.json["spec"]["containers"]]
        found: Json = next((each for each in every if each["name"] == container), {})
        limit = found.get("resources", {}).get("limits", {}).get("memory")
        return f" (limit {limit})" if limit else ""

    @property
    def _phase(self) -> str:
        return str(self.json.get("status", {}).get("phase", "Pending"))

    def _is(self, kind: str) -> bool:
        return bool(self._condition(kind).get("status") == "True")

    def _condition(self, kind: str) -> Json:
        found: list[Json] = self.json.get("status", {}).get("conditions", [])
        return next((each for each in found if each["type"] == kind), {})
