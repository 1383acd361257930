"""Who may do what in the cluster, and what may not stand in git. Each policy returns its complaints, one a line."""

import re
from collections.abc import Iterator

from tests.k8s.rendered import Object, name, of_kind, pods

NAMESPACE = "closed-loop"
NAMESPACED = {
    "ConfigMap", "CronJob", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy",
    "PersistentVolumeClaim", "PodDisruptionBudget", "PodTemplate", "Role", "RoleBinding", "Service", "ServiceAccount",
    "StatefulSet",
}  # fmt: skip
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|_KEY\b|_SALT\b|CONN\b|DATABASE_URL")
IN_URL = re.compile(r"://[^/\s:]*:[^/\s@]+@")
DIGEST = re.compile(r"^[a-z0-9.:-]+/[a-z0-9./-]+@sha256:[0-9a-f]{64}$")
Right = tuple[str, str, str]
TASK_DEPLOYS = {("deployments", name, verb) for name in ("serving", "serving-canary") for verb in ("get", "patch")}
RIGHTS: dict[str, set[Right]] = {  # by ServiceAccount: resource, name or *, verb; nothing else, and nothing less
    "airflow-api": {("pods", "*", "get"), ("pods", "*", "list"), ("pods/log", "*", "get")},
    "airflow-scheduler": {
        *(("pods", "*", verb) for verb in ("create", "get", "list", "watch", "patch", "delete")),
        ("pods/log", "*", "get"),
        ("events", "*", "list"),
        ("podtemplates", "airflow-task", "get"),
    },
    "airflow-task": {*TASK_DEPLOYS, ("pods", "*", "list")},
}


def granted(objects: list[Object]) -> dict[str, set[Right]]:
    """By ServiceAccount."""
    roles = {role["metadata"]["name"]: role["rules"] for role in of_kind(objects, "Role")}
    found: dict[str, set[Right]] = {}
    for binding in of_kind(objects, "RoleBinding"):
        for subject in binding["subjects"]:
            found.setdefault(subject["name"], set()).update(
                (resource, called, verb)
                for rule in roles[binding["roleRef"]["name"]]
                for resource in rule["resources"]
                for called in rule.get("resourceNames", ["*"])
                for verb in rule["verbs"]
            )
    return found


def least(objects: list[Object]) -> Iterator[str]:
    """Exactly the rights of the table, those of the local set-up step aside; no wildcard."""
    found = granted(objects)
    for account, expected in RIGHTS.items():
        if extra := found.get(account, set()) - expected:
            yield f"{account} may also {sorted(extra)}"
        if missing := expected - found.get(account, set()):
            yield f"{account} may not {sorted(missing)}"
    yield from (f"{account} has a role that nobody expects" for account in set(found) - set(RIGHTS) - {"setup"})
    for account, rights in found.items():
        yield from (f"{account} may {right}" for right in rights if _too_much(*right))


def _too_much(what: str, called: str, verb: str) -> bool:
    any_secret = what == "secrets" and (verb in ("list", "watch") or (called == "*" and verb != "create"))
    return "*" in (what, verb) or any_secret


def tokens(objects: list[Object]) -> Iterator[str]:
    """A token of the API is mounted where its account may do something, and nowhere else."""
    asking = set(granted(objects))
    for pod in pods(objects):
        account = pod.spec.get("serviceAccountName", "default")
        if account == "default":
            yield f"{pod.name} runs under the default account"
        if pod.spec.get("automountServiceAccountToken") is not (account in asking):
            yield f"{pod.name}: automountServiceAccountToken does not fit the rights of {account}"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name(account)} gives its token to any pod"


def secretless(objects: list[Object]) -> Iterator[str]:
    """No Secret, no password in a variable, in a setting or in a URL."""
    yield from (f"{name(item)} is in git" for item in of_kind(objects, "Secret"))
    settings = [
        (name(item), key, value) for item in of_kind(objects, "ConfigMap") for key, value in item["data"].items()
    ]
    variables = [
        (pod.name, variable["name"], variable["value"])
        for pod in pods(objects)
        for container in pod.containers
        for variable in container.get("env", [])
        if "value" in variable
    ]
    for where, key, value in [*settings, *variables]:
        if SECRET.search(key) and value and not value.startswith("/"):
            yield f"{where}: {key} has a value"
        if IN_URL.search(value):
            yield f"{where}: {key} has a password in a URL"


def at_home(objects: list[Object]) -> Iterator[str]:
    """Everything is in the namespace, whoever may write there may apply it; the namespace itself is the exception."""
    for item in objects:
        if item["kind"] == "Namespace" and item["metadata"]["name"] == NAMESPACE:
            continue
        if item["kind"] not in NAMESPACED:
            yield f"{name(item)} may need rights of the whole cluster"
        elif item["metadata"].get("namespace") != NAMESPACE:
            yield f"{name(item)} is not in {NAMESPACE}"
        elif item["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "closed-loop":
            yield f"{name(item)} does not say what it is part of"


def named(objects: list[Object]) -> Iterator[str]:
    """Every image has a tag or a digest; `latest` is neither."""
    for pod in pods(objects):
        for image in {container["image"] for container in pod.containers}:
            if "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest")):
                yield f"{pod.name}: {image} may be another image tomorrow"


def digested(objects: list[Object]) -> Iterator[str]:
    """For production: images by digest, and so the same ones for ever."""
    for pod in pods(objects):
        for image in {container["image"] for container in pod.containers}:
            if not DIGEST.match(image):
                yield f"{pod.name}: {image} is not named by digest"
