"""What happens when a node goes, or load comes. Each policy returns its complaints, one a line."""

from collections.abc import Iterator

from tests.k8s.rendered import Object, find, matches, name, of_kind, pods


def autoscaled(objects: list[Object]) -> Iterator[str]:
    """The model server grows and shrinks by autoscaling/v2, which alone decides on the number of its pods."""
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    spec, target = scaler["spec"], find(objects, "Deployment", scaler["spec"]["scaleTargetRef"]["name"])
    if scaler["apiVersion"] != "autoscaling/v2":
        yield f"{name(scaler)} is {scaler['apiVersion']}"
    if not 2 <= spec["minReplicas"] < spec["maxReplicas"]:
        yield f"{name(scaler)} keeps fewer than two, or never grows"
    if "replicas" in target["spec"]:
        yield f"{name(target)} has a number of replicas, which would be restored by the next apply"
    asked = target["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    yield from (
        f"{name(scaler)} goes by {metric['resource']['name']}, of which there is no request"
        for metric in spec["metrics"]
        if metric["resource"]["name"] not in asked
    )


def evictable(objects: list[Object]) -> Iterator[str]:
    """What has several pods loses one at a time; what has one pod does not hold up the drain of a node."""
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in of_kind(objects, "HorizontalPodAutoscaler")}
    budgets = of_kind(objects, "PodDisruptionBudget")
    for pod in pods(objects):
        if not pod.lasts:
            continue
        called, replicas = pod.owner["metadata"]["name"], pod.owner["spec"].get("replicas")
        held = [budget["spec"] for budget in budgets if matches(budget["spec"]["selector"], pod.labels)]
        several = called in scaled or (replicas or 0) > 1
        if several and [budget.get("maxUnavailable") for budget in held] != [1]:
            yield f"{pod.name} has no budget that gives away one pod at a time"
        if any(budget.get("unhealthyPodEvictionPolicy") != "AlwaysAllow" for budget in held):
            yield f"{pod.name}: pods that are not ready hold up the drain of a node"
        if replicas == 1 and held:
            yield f"{pod.name} has one pod and a budget: its node cannot be drained"


def spread(objects: list[Object]) -> Iterator[str]:
    """Autoscaled pods keep apart, over nodes and zones, where that is possible; each version for itself."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        called = scaler["spec"]["scaleTargetRef"]["name"]
        (pod,) = [each for each in pods(objects) if each.name == f"Deployment/{called}"]
        rules = pod.spec.get("topologySpreadConstraints", [])
        missing = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} - {rule["topologyKey"] for rule in rules}
        yield from (f"{pod.name} does not spread over {key}" for key in sorted(missing))
        for rule in rules:
            if not matches(rule["labelSelector"], pod.labels):
                yield f"{pod.name} keeps apart from others than its own"
            if rule["whenUnsatisfiable"] != "ScheduleAnyway":
                yield f"{pod.name} does not start where there is one node"
