"""Who may open a connection to whom, as the network policies of a rendering say it."""

from collections.abc import Iterator
from typing import Any

from tests.k8s.rendered import Object, Pod, matches, name, of_kind, pods

DNS, ANYWHERE = "cluster DNS", "anywhere"
Flow = tuple[str, str, int]  # caller, called, port


def denied(objects: list[Object]) -> Iterator[str]:
    """Every pod is under a policy of both directions that opens nothing."""
    for pod in pods(objects):
        walls = [p["spec"] for p in of_kind(objects, "NetworkPolicy") if matches(p["spec"]["podSelector"], pod.labels)]
        closed = [
            w for w in walls if set(w["policyTypes"]) == {"Ingress", "Egress"} and not {"ingress", "egress"} & set(w)
        ]
        if not closed:
            yield f"{pod.name} is open to whatever no policy forbids"
    for policy in of_kind(objects, "NetworkPolicy"):
        rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
        yield from (f"{name(policy)} opens every port" for rule in rules if not rule.get("ports"))
        yield from (
            f"{name(policy)} lets anybody in" for rule in policy["spec"].get("ingress", []) if not rule.get("from")
        )


def flows(objects: list[Object]) -> set[Flow]:
    """Every connection that can be opened: both sides allow it. Names are those of the label app.kubernetes.io/name."""
    everyone, found = list(pods(objects)), set()
    for caller in everyone:
        for rule in _rules(objects, caller, "egress"):
            for port in (each["port"] for each in rule["ports"]):
                if "to" not in rule:
                    found.add((_called(caller), ANYWHERE, port))
                for peer in rule.get("to", []):
                    found |= {(_called(caller), called, port) for called in _reached(objects, caller, peer, port)}
    return found


def _reached(objects: list[Object], caller: Pod, peer: dict[str, Any], port: int) -> set[str]:
    if "namespaceSelector" in peer:
        return {DNS} if peer["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}} else {ANYWHERE}
    chosen = [pod for pod in pods(objects) if matches(peer["podSelector"], pod.labels)]
    return {_called(pod) for pod in chosen if _lets_in(objects, pod, caller, port)}


def _lets_in(objects: list[Object], pod: Pod, caller: Pod, port: int) -> bool:
    return any(
        port in [each["port"] for each in rule["ports"]]
        and any("podSelector" in peer and matches(peer["podSelector"], caller.labels) for peer in rule["from"])
        for rule in _rules(objects, pod, "ingress")
    )


def _rules(objects: list[Object], pod: Pod, way: str) -> Iterator[dict[str, Any]]:
    for policy in of_kind(objects, "NetworkPolicy"):
        if matches(policy["spec"]["podSelector"], pod.labels):
            yield from policy["spec"].get(way, [])


def _called(pod: Pod) -> str:
    return pod.labels["app.kubernetes.io/name"]
