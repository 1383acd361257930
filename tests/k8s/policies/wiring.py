"""Whether what is named is there. Each policy returns its complaints, one a line."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pipeline.containers import cluster
from tests.k8s.rendered import Object, Pod, matches, name, of_kind, pods

OUTSIDE = {"serving-tls"}  # the ingress's certificate


def unique(objects: list[Object]) -> Iterator[str]:
    counted = Counter(name(item) for item in objects)
    yield from (f"{each} is there {count} times" for each, count in counted.items() if count > 1)
    for pod in pods(objects):
        for container in pod.containers:
            for key, field in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "name")):
                seen = Counter(item[field] for item in container.get(key, []))
                yield from (f"{pod.name}: {container['name']}: two {key} {each}" for each in seen if seen[each] > 1)
        names = Counter(container["name"] for container in pod.containers)
        yield from (f"{pod.name}: two containers {each}" for each in names if names[each] > 1)


def complete(objects: list[Object]) -> Iterator[str]:
    """Each ConfigMap, claim, account, Role and target that is named is part of what is applied."""
    there = {name(item) for item in objects}
    for pod in pods(objects):
        yield from (f"{pod.name}: there is no {each}" for each in sorted(_wanted(pod) - there))
        yield from (f"{pod.name}: {why}" for why in _volumes(pod))
    for binding in of_kind(objects, "RoleBinding"):
        ends = {
            f"Role/{binding['roleRef']['name']}",
            *(f"{each['kind']}/{each['name']}" for each in binding["subjects"]),
        }
        yield from (f"{name(binding)}: there is no {each}" for each in sorted(ends - there))
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if f"{target['kind']}/{target['name']}" not in there:
            yield f"{name(scaler)} scales nothing"
    for stateful in of_kind(objects, "StatefulSet"):
        if f"Service/{stateful['spec']['serviceName']}" not in there:
            yield f"{name(stateful)} has no Service"


def secrets_known(objects: list[Object]) -> Iterator[str]:
    """Each Secret, and each file of one, is of those that the set-up step makes or that docs/kubernetes.md asks for."""
    made = secrets_made()
    for pod in pods(objects):
        for secret in secrets_of(pod):
            if secret not in made:
                yield f"{pod.name}: nobody makes the Secret {secret}"
    for role in of_kind(objects, "Role"):
        for rule in role["rules"]:
            meant = rule.get("resourceNames", []) if rule["resources"] == ["secrets"] else []
            yield from (f"{name(role)} means {each}, which nobody makes" for each in set(meant) - {*made, cluster.ALL})
    for ingress in of_kind(objects, "Ingress"):
        for tls in ingress["spec"].get("tls", []):
            if tls["secretName"] not in OUTSIDE:
                yield f"{name(ingress)}: nobody makes the Secret {tls['secretName']}"


def selecting(objects: list[Object]) -> Iterator[str]:
    """A selector finds pods, and a controller finds its own."""
    labels = [pod.labels for pod in pods(objects)]
    for pod in pods(objects):
        if pod.lasts and not matches(pod.owner["spec"]["selector"], pod.labels):
            yield f"{pod.name} does not find its own pods"
        others = [other for other in pods(objects) if other.lasts and other.name != pod.name and pod.lasts]
        yield from (
            f"{pod.name} takes the pods of {o.name}" for o in others if matches(pod.owner["spec"]["selector"], o.labels)
        )
    for service in of_kind(objects, "Service"):
        if not any(service["spec"]["selector"].items() <= each.items() for each in labels):
            yield f"{name(service)} leads nowhere"
    for item in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget"):
        key = "podSelector" if item["kind"] == "NetworkPolicy" else "selector"
        if not any(matches(item["spec"][key], each) for each in labels):
            yield f"{name(item)} selects nothing"


def ports_named(objects: list[Object]) -> Iterator[str]:
    """Ports have names, and who names one finds it."""
    for pod in pods(objects):
        for container in pod.containers:
            own = {port.get("name") for port in container.get("ports", [])}
            if None in own:
                yield f"{pod.name}: {container['name']} has a port without a name"
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = [
                    probe["port"]
                    for probe in container.get(kind, {}).values()
                    if isinstance(probe, dict) and "port" in probe
                ]
                yield from (f"{pod.name}: {kind} asks port {port}" for port in asked if port not in own)
    for service in of_kind(objects, "Service"):
        yield from _service_ports(service, objects)
    known = {(s["metadata"]["name"], port["name"]) for s in of_kind(objects, "Service") for port in s["spec"]["ports"]}
    for ingress in of_kind(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                if (backend["name"], backend["port"].get("name")) not in known:
                    yield f"{name(ingress)} leads to {backend}, which is not there"


def secrets_of(pod: Pod) -> set[str]:
    """Names of the Secrets that a pod needs."""
    volumes = [volume["secret"]["secretName"] for volume in pod.spec.get("volumes", []) if "secret" in volume]
    sources = [source for container in pod.containers for source in container.get("envFrom", [])]
    return {*volumes, *(source["secretRef"]["name"] for source in sources if "secretRef" in source)}


def secrets_made() -> dict[str, set[str]]:
    """By name: the keys of each Secret that the set-up step makes."""
    known = {**cluster.secrets.generate()}
    return {called: set(content) for called, content in cluster.objects(known).items()} | {
        cluster.KEYS: {cluster.KEYS_FILE}
    }


def _service_ports(service: Object, objects: list[Object]) -> Iterator[str]:
    behind = [pod for pod in pods(objects) if service["spec"]["selector"].items() <= pod.labels.items()]
    for port in service["spec"]["ports"]:
        if "name" not in port or not isinstance(port.get("targetPort"), str):
            yield f"{name(service)} has a port without names"
            continue
        for pod in behind:
            own = {found["name"]: found["containerPort"] for each in pod.containers for found in each.get("ports", [])}
            if own.get(port["targetPort"]) != port["port"]:
                yield f"{name(service)}: {pod.name} has no port {port['targetPort']} of number {port['port']}"


def _wanted(pod: Pod) -> set[str]:
    """The other objects that a pod cannot start without, Secrets aside."""
    wanted = {f"ServiceAccount/{pod.spec['serviceAccountName']}"}
    for volume in pod.spec.get("volumes", []):
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        wanted |= {f"ConfigMap/{source['configMap']['name']}" for source in sources if "configMap" in source}
        if "persistentVolumeClaim" in volume:
            wanted.add(f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}")
    sources = [source for container in pod.containers for source in container.get("envFrom", [])]
    return wanted | {f"ConfigMap/{source['configMapRef']['name']}" for source in sources if "configMapRef" in source}


def _volumes(pod: Pod) -> Iterator[str]:
    claims: list[Any] = pod.owner["spec"].get("volumeClaimTemplates", []) if pod.owner["kind"] == "StatefulSet" else []
    there = {volume["name"] for volume in pod.spec.get("volumes", [])} | {claim["metadata"]["name"] for claim in claims}
    used = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
    yield from (f"there is no volume {each}" for each in sorted(used - there))
    yield from (f"nobody mounts the volume {each}" for each in sorted(there - used))
