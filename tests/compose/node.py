"""A node made of Docker: runs the pods of k8s/ under their own user, rights, limits, settings, volumes and secrets.

It is no kubelet: no probes by itself, no restarts, no network policy, and anybody may write to a volume.
"""

import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.k8s.policies.pods import quantity
from tests.k8s.rendered import Object, Pod, of_kind

NETWORK = "closed-loop-pods"
NAMESPACE = "closed-loop"
CLEANER = "closed-loop/serving:local"  # of files that belong to the pods' users


def docker(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=400, check=False)
    assert not check or done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


class Node:
    """`secrets` by name and key. Volumes are folders below `folder`."""

    def __init__(self, objects: list[Object], secrets: dict[str, dict[str, str]], folder: Path) -> None:
        self._settings = {item["metadata"]["name"]: item["data"] for item in of_kind(objects, "ConfigMap")}
        self._secrets, self._folder, self._started = secrets, folder, list[str]()
        docker("network", "create", NETWORK)

    def close(self) -> None:
        docker("rm", "--force", "--volumes", *self._started, check=False)
        docker("run", "--rm", "--user=0", f"--volume={self._folder}:/all", CLEANER, "sh", "-c", "rm -r /all/*")
        docker("network", "rm", NETWORK)

    def start(self, pod: Pod, without: tuple[str, ...] = (), **more: str) -> str:
        """Run the steps, then start the container; return its name. `more` is added to the environment."""
        for step in pod.spec.get("initContainers", []):
            if step["name"] not in without:
                docker(*self._words(pod, step, more, ["run", "--rm"]))
        (container,) = pod.spec["containers"]
        called = f"{NETWORK}-{container['name']}"
        self._started.append(called)
        alias = ["--network-alias", pod.labels["app.kubernetes.io/name"]]
        docker(*self._words(pod, container, more, ["run", "--detach", "--name", called, *alias]))
        return called

    def answers(self, called: str, container: dict[str, Any], probe: dict[str, Any]) -> bool:
        """Ask a probe once, as a kubelet does."""
        if "exec" in probe:
            return docker("exec", called, *probe["exec"]["command"], check=False).returncode == 0
        asked = probe["httpGet"]
        port = {each["name"]: each["containerPort"] for each in container["ports"]}[asked["port"]]
        headers = {header["name"]: header["value"] for header in asked.get("httpHeaders", [])}
        url = f"http://{self.address(called)}:{port}{asked['path']}"
        try:
            return httpx.get(url, headers=headers, timeout=probe.get("timeoutSeconds", 1), trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def address(self, called: str) -> str:
        where = f"{{{{(index .NetworkSettings.Networks {NETWORK!r}).IPAddress}}}}".replace("'", '"')
        return docker("inspect", "--format", where, called).stdout.strip()

    def _words(self, pod: Pod, container: dict[str, Any], more: dict[str, str], how: list[str]) -> list[str]:
        shared, limits = pod.spec["securityContext"], container["resources"]["limits"]
        rights = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        user = ["--user", f"{shared['runAsUser']}:{shared['runAsGroup']}", "--group-add", str(shared["fsGroup"])]
        most = ["--memory", str(int(quantity(limits["memory"]))), "--cpus", str(quantity(limits["cpu"]))]
        variables = [f"--env={key}={value}" for key, value in {**self._environment(container), **more}.items()]
        volumes = {each["name"]: each for each in pod.spec.get("volumes", [])}
        mounts = [
            f"--volume={self._volume(pod, mount['name'], volumes)}:{mount['mountPath']}"
            + (":ro" if mount.get("readOnly") else "")
            for mount in container.get("volumeMounts", [])
        ]
        command = [container["image"], *container.get("args", [])]
        return [*how, "--network", NETWORK, *rights, *user, *most, *variables, *mounts, *command]

    def _environment(self, container: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            known = self._settings if "configMapRef" in source else self._secrets
            found |= known[next(iter(source.values()))["name"]]
        return found | {each["name"]: each.get("value", NAMESPACE) for each in container.get("env", [])}

    def _volume(self, pod: Pod, called: str, volumes: dict[str, Any]) -> Path:
        path = self._folder / pod.owner["metadata"]["name"] / called
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        if "secret" in volumes.get(called, {}):
            for key, text in self._secrets[volumes[called]["secret"]["secretName"]].items():
                (path / key).write_text(text)
        return path
