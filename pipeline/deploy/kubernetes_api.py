"""The one place that talks to a Kubernetes API server: Deployments and pods of one namespace. It decides nothing.

Rights it needs (k8s/base has the Role): get and patch of the two serving Deployments, list of pods. Outside of the
cluster also get of pods/proxy, because pods are asked through the API server there.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import urllib3
from kubernetes import client, config
from kubernetes.client import ApiException

from core.errors import DeployError

MANAGER = "closed-loop"
NAMESPACE = "closed-loop"
INSIDE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
PORT = "http"  # name of the container's port
TIMEOUT_S = 10.0
Json = dict[str, Any]


class Unavailable(DeployError):
    """The API server does not answer, or is too busy: asking again may help."""


class Missing(DeployError):
    """There is no such object."""


class Changed(DeployError):
    """The object is not the one that was read: somebody changed it meanwhile."""


@dataclass(frozen=True)
class Cluster:
    """One namespace. `inside` says whether pods can be reached by their addresses. Every call may raise DeployError."""

    api: client.ApiClient
    namespace: str
    inside: bool
    key: str = field(default="", repr=False)  # of the model server

    @classmethod
    def found(cls, key: str) -> "Cluster":
        """The cluster that this process runs in, or the one that kubectl would talk to."""
        settings = client.Configuration()
        try:
            if INSIDE.exists():
                config.load_incluster_config(client_configuration=settings)
                return cls(client.ApiClient(settings), INSIDE.read_text().strip(), True, key)
            file = os.environ.get("KUBECONFIG") or None
            config.load_kube_config(file, client_configuration=settings)
            _, context = config.list_kube_config_contexts(file)
        except config.ConfigException as error:
            raise DeployError(f"there is no cluster to deploy to: {error}; LOOP_TARGET=kubernetes needs one") from error
        return cls(client.ApiClient(settings), context["context"].get("namespace", NAMESPACE), False, key)

    def deployment(self, name: str) -> Json | None:
        """None where there is none."""
        try:
            return self._call(self._apps.read_namespaced_deployment, name, self.namespace)
        except Missing:
            return None

    def apply(self, name: str, fields: Json) -> None:
        """Server-side apply. Raises DeployError where somebody else keeps one of the fields, Changed where the fields
        have a resourceVersion that is not the present one.
        """
        body = {"apiVersion": "apps/v1", "kind": "Deployment", **fields}
        self._patch(name, body, APPLY)

    def scale(self, name: str, replicas: int) -> None:
        self._patch(name, {"spec": {"replicas": replicas}}, MERGE)

    def pods(self, labels: Mapping[str, str]) -> list[Json]:
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        found = self._call(self._core.list_namespaced_pod, self.namespace, label_selector=selector)
        return list(found["items"])

    def ask(self, pod: Json, path: str) -> Json | None:
        """What the server in a pod answers to GET path, ready or not; None when it does not answer.

        Raises DeployError where it refuses us.
        """
        try:
            answer = self._directly(pod, path) if self.inside else self._through_the_api(pod, path)
        except (httpx.HTTPError, Unavailable, Missing):
            return None
        if answer.status_code in (401, 403):
            where = f"{pod['metadata']['name']} refuses us ({answer.text[:200]})"
            raise DeployError(f"{where}; LOOP_SERVING_KEY must be a key that may operate")
        return _object(answer.content)

    def close(self) -> None:
        self.api.rest_client.pool_manager.clear()
        self._http.close()

    @cached_property
    def _apps(self) -> client.AppsV1Api:
        return client.AppsV1Api(self.api)

    @cached_property
    def _http(self) -> httpx.Client:
        alone = httpx.Limits(max_keepalive_connections=0)  # pods come and go
        return httpx.Client(timeout=TIMEOUT_S, trust_env=False, limits=alone)

    @cached_property
    def _core(self) -> client.CoreV1Api:
        return client.CoreV1Api(self.api)

    def _directly(self, pod: Json, path: str) -> httpx.Response:
        ip = pod.get("status", {}).get("podIP")
        if not ip:
            raise httpx.ConnectError("the pod has no address yet")
        host = f"[{ip}]" if ":" in ip else ip
        return self._http.get(f"http://{host}:{_port(pod)}{path}", headers=self._credentials)

    def _through_the_api(self, pod: Json, path: str) -> httpx.Response:
        """The API server takes an Authorization header for its own, so the key travels in the other one."""
        name = f"{pod['metadata']['name']}:{_port(pod)}"
        call = self._core.connect_get_namespaced_pod_proxy_with_path
        more = {"_headers": self._credentials, "_preload_content": False, "_request_timeout": TIMEOUT_S}
        try:
            answer = call(name, self.namespace, path.lstrip("/"), **more)
        except ApiException as error:
            if _status(error):  # the API server's own answer, not the pod's
                raise _in_words(error) from error
            return httpx.Response(int(error.status), content=_body(error))
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(str(error)) from error
        return httpx.Response(answer.status, content=answer.data)

    @property
    def _credentials(self) -> dict[str, str]:
        return {"X-API-Key": self.key} if self.key else {}

    def _patch(self, name: str, body: Json, kind: str) -> None:
        body = {**body, "metadata": {"name": name, **body.get("metadata", {})}}
        call = self._apps.patch_namespaced_deployment
        self._call(call, name, self.namespace, body, _content_type=kind, field_manager=MANAGER)

    def _call(self, call: Any, *what: Any, **options: Any) -> Json:
        try:
            answer = call(*what, **options, _preload_content=False, _request_timeout=TIMEOUT_S)
            return dict(json.loads(answer.data))
        except ApiException as error:
            raise _in_words(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(f"the Kubernetes API does not answer: {error}") from error


def _in_words(error: ApiException) -> DeployError:
    """https://kubernetes.io/docs/reference/using-api/api-concepts and the object Status."""
    status = _status(error)
    message = status.get("message") or f"{error.status} {error.reason}"
    if error.status == 404:
        return Missing(message)
    if error.status == 409:
        return _conflict(status, message)
    if error.status == 403:
        return DeployError(f"the Kubernetes API refuses: {message}; the Role of k8s/base says what is needed")
    if error.status in (0, 429) or error.status >= 500:
        return Unavailable(f"the Kubernetes API does not answer: {message}")
    return DeployError(f"the Kubernetes API refuses: {message}")


def _conflict(status: Json, message: str) -> DeployError:
    causes = status.get("details", {}).get("causes", [])
    kept = [cause for cause in causes if cause.get("reason") == "FieldManagerConflict"]
    if not kept:
        return Changed(message)
    said = "; ".join(f"{cause['message']}: {cause['field']}" for cause in kept)
    return DeployError(f"somebody else set what the target sets, so nothing was changed: {said}")


def _status(error: ApiException) -> Json:
    """The API server's own account of the error; empty where it gave none."""
    found = _object(_body(error)) or {}
    return found if found.get("kind") == "Status" else {}


def _body(error: ApiException) -> bytes:
    return error.body.encode() if isinstance(error.body, str) else error.body or b""


def _object(content: bytes) -> Json | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _port(pod: Json) -> int:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == PORT), 8000)
