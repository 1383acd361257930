"""What a pod may do, what it may take, and how it says how it is. Each policy returns its complaints, one a line."""

import re
from collections.abc import Iterator
from typing import Any

from serving.__main__ import DRAIN_S
from tests.k8s.rendered import Object, find, of_kind, pods

VOLUMES = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
HOST = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
BOUNDED = ("cpu", "memory", "ephemeral-storage")
UNITS = {"": 1.0, "m": 1e-3, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
PATIENCE_S = 60  # of a start, at least
SHIPPING_S = 10  # of what was acknowledged
OURS = re.compile(r"/(pipeline|serving|mlflow)[:@]")


def restricted(objects: list[Object]) -> Iterator[str]:
    """The Pod Security standard "restricted", and beyond it: a user by number, and a root that nobody writes to."""
    for pod in pods(objects):
        yield from (f"{pod.name}: {key}" for key in HOST if key in pod.spec)
        for volume in pod.spec.get("volumes", []):
            if kinds := set(volume) - {"name"} - VOLUMES:
                yield f"{pod.name}: volume {volume['name']} is of {kinds}"
        shared = pod.spec.get("securityContext", {})
        yield from (f"{pod.name}: {key} in the pod" for key in ("sysctls", "windowsOptions") if key in shared)
        for container in pod.containers:
            yield from (f"{pod.name}: {container['name']}: {why}" for why in _rights(shared, container))


def bounded(objects: list[Object]) -> Iterator[str]:
    """Requests and limits for everything, no request above its limit, and no scratch volume without a size."""
    for pod in pods(objects):
        for container in pod.containers:
            asked, most = (container.get("resources", {}).get(kind, {}) for kind in ("requests", "limits"))
            for what in BOUNDED:
                if what not in asked or what not in most:
                    yield f"{pod.name}: {container['name']}: {what} has no request or no limit"
                elif quantity(asked[what]) > quantity(most[what]):
                    yield f"{pod.name}: {container['name']}: {what} asks for more than its limit"
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.name}: volume {volume['name']} has no size"


def probed(objects: list[Object]) -> Iterator[str]:
    """What lasts has three probes; alive is not ready, and a slow start is not death."""
    for pod in pods(objects):
        if not pod.lasts:
            continue
        for container in pod.spec["containers"]:
            missing = [probe for probe in PROBES if probe not in container]
            if missing:
                yield f"{pod.name}: {container['name']} has no {missing}"
                continue
            start, alive, ready = (container[probe] for probe in PROBES)
            if _asks(alive) == _asks(ready):
                yield f"{pod.name}: {container['name']}: alive and ready are the same question"
            if _patience_s(start) < PATIENCE_S:
                yield f"{pod.name}: {container['name']} is given less than {PATIENCE_S} s to start"
            if _patience_s(alive) < 2 * _patience_s(ready):
                yield f"{pod.name}: {container['name']} is killed as soon as it is taken out of the Service"


def graceful(objects: list[Object]) -> Iterator[str]:
    """What a Service of its own leads to goes on answering until it is known to be gone, and has the time to end."""
    behind = [item["spec"]["selector"] for item in of_kind(objects, "Service")]
    for pod in pods(objects):
        if pod.owner["kind"] != "Deployment" or not any(selector.items() <= pod.labels.items() for selector in behind):
            continue
        if pod.owner["spec"].get("strategy", {}).get("type") == "Recreate":  # it is not there meanwhile, as it says
            continue
        for container in pod.spec["containers"]:
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if pause < 5:
                yield f"{pod.name}: {container['name']} stops before the nodes know"
            if pod.spec.get("terminationGracePeriodSeconds", 30) < pause + 15:
                yield f"{pod.name}: {container['name']} is killed while it stops"


def drains(objects: list[Object]) -> Iterator[str]:
    """The model server ends its requests and ships what it acknowledged; a new pod is ready before an old one goes."""
    serving = find(objects, "Deployment", "serving")["spec"]
    pod, update = serving["template"]["spec"], serving["strategy"].get("rollingUpdate", {})
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    if pod["terminationGracePeriodSeconds"] < pause + DRAIN_S + SHIPPING_S:
        yield "serving is killed while it answers"
    if update.get("maxUnavailable") != 0:
        yield "an update of serving takes pods away before there are new ones"


def unlinked(objects: list[Object]) -> Iterator[str]:
    """Without variables such as MLFLOW_PORT=tcp://..., which MLflow would take for a setting."""
    yield from (pod.name for pod in pods(objects) if pod.spec.get("enableServiceLinks") is not False)


def writable(objects: list[Object]) -> Iterator[str]:
    """The root is read-only, so /tmp is a volume wherever our images or Python run."""
    for pod in pods(objects):
        for container in pod.containers:
            mounted = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
            if OURS.search(container["image"]) and "/tmp" not in mounted and container.get("args", [])[:1] != ["cp"]:
                yield f"{pod.name}: {container['name']} has no /tmp"


def quantity(text: Any) -> float:
    """Cores or bytes."""
    number = str(text).rstrip("mKiMG")
    return float(number) * UNITS[str(text).removeprefix(number)]


def _rights(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = pod | own
    wrong = {
        "may be root": both.get("runAsNonRoot") is not True,
        "has no numeric user": not isinstance(both.get("runAsUser"), int) or both["runAsUser"] == 0,
        "has no seccomp profile": both.get("seccompProfile") != {"type": "RuntimeDefault"},
        "may get more rights": own.get("allowPrivilegeEscalation") is not False,
        "may write to its root": own.get("readOnlyRootFilesystem") is not True,
        "has capabilities": own.get("capabilities") != {"drop": ["ALL"]},
        "is privileged": bool(own.get("privileged")),
        "has a port of the host": any("hostPort" in port for port in container.get("ports", [])),
        "has another /proc": "procMount" in own,
    }
    yield from (why for why, is_so in wrong.items() if is_so)


def _asks(probe: dict[str, Any]) -> Any:
    """The question, without its patience."""
    return next(probe[kind] for kind in ("httpGet", "exec", "tcpSocket", "grpc") if kind in probe)


def _patience_s(probe: dict[str, Any]) -> int:
    seconds: int = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
    return seconds
