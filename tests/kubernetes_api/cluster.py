"""A cluster in this process: API server, Deployment controller and one node, and a kubeconfig to reach it."""

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from pipeline.deploy.kubernetes_api import NAMESPACE, Cluster
from tests.kubernetes_api.controller import Controller, is_ready
from tests.kubernetes_api.fields import Json
from tests.kubernetes_api.kubelet import Kubelet, Run, port
from tests.kubernetes_api.server import ALL, ApiServer
from tests.kubernetes_api.store import Store

TOKEN = "of-the-test"
APPLIED = "kubectl-client-side-apply"


class FakeCluster:
    """What `run` starts is what its pods run."""

    def __init__(self, folder: Path, run: Run, rules: Sequence[Json] = ALL) -> None:
        self.store = Store(NAMESPACE)
        self.api = ApiServer(self.store, TOKEN, rules)
        self.controller, self.kubelet = Controller(self.store), Kubelet(self.store, run)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig()))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._turn, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=30)
        self.kubelet.close()
        self.api.close()

    def client(self, inside: bool = True, key: str = "") -> Cluster:
        settings = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=settings)
        return Cluster(client.ApiClient(settings), NAMESPACE, inside, key)

    def create(self, deployment: Json) -> None:
        """As `kubectl apply` creates it."""
        self.store.create("deployments", deployment, APPLIED)

    def edit(self, name: str, manager: str = "kubectl-edit", **spec: Any) -> None:
        """As somebody's own tool writes a Deployment's spec."""
        self.store.change("deployments", name, lambda found: found["spec"].update(copy.deepcopy(spec)), manager)

    def service(self, name: str = "serving") -> list[str]:
        """Where a Service of this name sends requests: its ready pods."""
        pods = self.store.list("pods", {"app.kubernetes.io/name": name})
        ready = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        return [f"http://{pod['status']['podIP']}:{port(pod['spec']['containers'][0])}" for pod in ready]

    def _turn(self) -> None:
        while not self._stopping.wait(0.01):
            self.controller.step()
            self.kubelet.step()

    def _kubeconfig(self) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.api.url}}],
            "users": [{"name": "me", "user": {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me", "namespace": NAMESPACE}}],
        }


def deployment(name: str = "serving", track: str = "champion", replicas: int = 2, **more: Any) -> Json:
    """As k8s/base has it, as far as the target cares. `more` goes into the spec."""
    labels = {"app.kubernetes.io/name": "serving", "track": track}
    container = {
        "name": "serving",
        "image": "closed-loop/serving:1",
        "ports": [{"name": "http", "containerPort": 8000}],
        "env": [{"name": "LOOP_KEYS", "value": "/secrets/keys.json"}],
        "resources": {"limits": {"memory": "640Mi"}},
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "progressDeadlineSeconds": 30,
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec | more}


def canary(replicas: int = 1, **more: Any) -> Json:
    """As the component makes it: one pod, until the first release."""
    return deployment("serving-canary", "canary", replicas, **more)
