"""A real cluster, by kubectl and the present context. The standard library alone."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "closed-loop"
SERVING = "app.kubernetes.io/name=serving"
DEPLOYMENTS = ("mlflow", "airflow-api", "airflow-scheduler", "airflow-dags")  # serving waits for the first release
START_S, LIFECYCLE_S = 900.0, 2400.0
URL, RATE = "http://serving:8000", 40
Json = dict[str, Any]


def run(*words: str, given: str | None = None) -> str:
    """What the command printed. Raises SystemExit with what it said where it fails."""
    done = subprocess.run(words, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:200]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


class Kubectl:
    """The namespace of the local overlay."""

    def __init__(self, kubectl: Callable[..., str] = run) -> None:
        self._run = kubectl

    def of(self, *words: str, given: str | None = None) -> str:
        return self._run("kubectl", "--namespace", NAMESPACE, *words, given=given)

    def get(self, *words: str) -> Any:
        return json.loads(self.of("get", *words, "--output", "json"))

    # bringing it up -----------------------------------------------------------------------------------------------

    def apply(self) -> None:
        self._run("kubectl", "apply", "--kustomize", "tests/e2e/overlay")
        for name in DEPLOYMENTS:
            self.of("rollout", "status", f"deployment/{name}", f"--timeout={START_S:.0f}s")

    def lifecycle(self, number: int) -> str:
        """Wait until so many life cycles have ended well; returns the champion's version."""
        until = time.monotonic() + LIFECYCLE_S
        while (states := self._runs()).count("success") < number:
            if "failed" in states or time.monotonic() > until:
                raise SystemExit(f"life cycles: {states}; look at Airflow's pages, or at the pods' logs")
            time.sleep(10)
        return self.champion()

    def trigger(self, as_of: str) -> None:
        self._airflow("dags", "trigger", "lifecycle", "--conf", json.dumps({"as_of": as_of}))

    def champion(self) -> str:
        (container,) = self.get("deployment", "serving")["spec"]["template"]["spec"]["containers"]
        pinned = {item["name"]: item.get("value", "") for item in container["env"]}
        return str(pinned["LOOP_VERSION"])

    def _runs(self) -> list[str]:
        printed = self._airflow("dags", "list-runs", "lifecycle", "--output", "json")
        return [item["state"] for item in json.loads(printed[printed.index("[") :])]

    def _airflow(self, *words: str) -> str:
        return self.of("exec", "deployment/airflow-scheduler", "--", "airflow", *words)

    # the load -----------------------------------------------------------------------------------------------------

    def start_load(self) -> None:
        template = self.get("podtemplate", "airflow-task")["template"]
        self.of("delete", "pod", "load", "--ignore-not-found", "--wait=true")
        self.of("create", "--filename", "-", given=json.dumps(load_pod(template)))
        self.of("wait", "pod/load", "--for=condition=Ready", "--timeout=180s")

    def stop_load(self) -> Sequence[str]:
        """What the load wrote."""
        self.of("exec", "load", "--", "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")
        self.of("wait", "pod/load", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        return self.of("logs", "load", "--tail=-1").splitlines()

    # what the story does ------------------------------------------------------------------------------------------

    def now(self) -> float:
        return float(self.of("exec", "load", "--", "python", "-c", "import time; print(time.time())"))

    def loop(self, *words: str) -> str:
        return self._run("k8s/loop", *words)

    def served(self) -> list[str | None]:
        """By what each pod is pinned to; the deploy target has asked them."""
        return [_pin(pod) if _ready(pod) else None for pod in self._pods()]

    def delete_a_pod(self) -> None:
        self.of("delete", "pod", self._pods()[0]["metadata"]["name"], "--wait=true")

    def drain(self) -> None:
        """Only the model server's pods leave the node: those of MLflow and PostgreSQL may have volumes there.

        With a single node to run on there is nowhere to go, so there a pod is evicted, which is what draining does.
        """
        nodes = [
            node for node in json.loads(self._run("kubectl", "get", "nodes", "-o", "json"))["items"] if _takes(node)
        ]
        pod = self._pods()[0]
        if len(nodes) < 2:
            self._evict(pod["metadata"]["name"])
            return
        node = pod["spec"]["nodeName"]
        try:
            self._run("kubectl", "drain", node, f"--pod-selector={SERVING}", "--delete-emptydir-data", "--timeout=240s")
        finally:
            self._run("kubectl", "uncordon", node)

    def kill_a_server(self) -> None:
        """The first process of a container gets no signal that it does not handle, so its node ends it: no grace."""
        name = self._pods()[0]["metadata"]["name"]
        self.of("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")

    def _evict(self, name: str) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        place = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        self._run("kubectl", "create", "--raw", place, "--filename", "-", given=json.dumps(body))
        self.of("wait", f"pod/{name}", "--for=delete", "--timeout=120s")

    def _pods(self) -> list[Json]:
        return list(self.get("pods", "--selector", SERVING)["items"])


def load_pod(template: Json) -> Json:
    """A task's pod, which may ask the model server and has a key, running the load."""
    spec = json.loads(json.dumps(template["spec"]))
    source = (ROOT / "tests/e2e/load.py").read_text(encoding="utf-8")
    spec["containers"][0]["args"] = ["python", "-c", source, URL, str(RATE)]
    spec["terminationGracePeriodSeconds"] = 40
    labels = {name: value for name, value in template["metadata"]["labels"].items() if name.startswith("uses/")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load", "labels": labels}, "spec": spec}


def load_images() -> None:
    """Build the images and bring them into the cluster. E2E_LOAD is the command that does; {} is an image's name."""
    names = [f"closed-loop/{target}:local" for target in ("serving", "mlflow", "pipeline")]
    if os.environ.get("E2E_BUILD", "yes") == "yes":
        for name, target in zip(names, ("serving", "mlflow", "pipeline"), strict=True):
            run("docker", "build", "--file", "docker/Dockerfile", "--target", target, "--tag", name, ".")
    command = os.environ.get("E2E_LOAD") or loader(run("kubectl", "config", "current-context").strip())
    for name in names:
        run("sh", "-c", command.replace("{}", name))


def loader(context: str) -> str:
    """How the clusters that people have on their machine take an image."""
    if context.startswith("kind-"):
        return f"kind load docker-image {{}} --name {context.removeprefix('kind-')}"
    if context.startswith("minikube"):
        return f"minikube image load {{}} --profile {context}"
    if context.startswith("k3d-"):
        return f"k3d image import {{}} --cluster {context.removeprefix('k3d-')}"
    if context in ("docker-desktop", "orbstack", "rancher-desktop"):
        return "true"  # they share the engine's images
    raise SystemExit(f"how does the cluster of context {context} take an image? E2E_LOAD='command with {{}}' says it")


def _ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _pin(pod: Json) -> str | None:
    for item in pod["spec"]["containers"][0].get("env", []):
        if item["name"] == "LOOP_VERSION":
            return str(item.get("value"))
    return None


def _takes(node: Json) -> bool:
    taints = node["spec"].get("taints", [])
    return not node["spec"].get("unschedulable") and not any(one["effect"] != "PreferNoSchedule" for one in taints)
