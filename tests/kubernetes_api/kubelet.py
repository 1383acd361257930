"""The node: gives pods an address, runs their servers, probes them, and says what goes wrong as a kubelet says it.

What a pod runs is a function of the test's: it starts something that answers on the pod's own address of the loopback
network, 127.x.y.z, or raises what happens instead. States and reasons are those of
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from tests.kubernetes_api.fields import Json
from tests.kubernetes_api.store import Store

BACK_OFF_S = 0.1
PROBE_EVERY_S = 0.03


class Process(Protocol):
    def stop(self) -> None: ...


Run = Callable[[Mapping[str, str], str, int], Process]  # environment, address, port


class NoImage(Exception):
    """The image cannot be pulled."""


class NoNode(Exception):
    """No node has room."""


class Crash(Exception):
    """The container ends at once."""

    def __init__(self, exit_code: int = 1, reason: str = "Error") -> None:
        super().__init__(exit_code, reason)
        self.ended = {"exitCode": exit_code, "reason": reason}


OUT_OF_MEMORY = Crash(137, "OOMKilled")


@dataclass
class Running:
    """What the node knows of one pod."""

    ip: str
    process: Process | None = None
    restarts: int = 0
    tries: int = 0
    next_try: float = 0.0
    next_probe: float = 0.0
    ready: bool = False
    ended: Json = field(default_factory=dict)


class Kubelet:
    def __init__(self, store: Store, run: Run) -> None:
        self.run = run
        self._store, self._pods = store, dict[str, Running]()
        self._addresses = _addresses()
        self._http = httpx.Client(trust_env=False, timeout=1, limits=httpx.Limits(max_keepalive_connections=0))

    def step(self) -> None:
        for pod in self._store.list("pods"):
            name = pod["metadata"]["name"]
            if name not in self._pods:
                self._pods[name] = Running(next(self._addresses))
            known = self._pods[name]
            if "deletionTimestamp" in pod["metadata"]:
                self._end(name, known)
            elif pod["status"]["phase"] != "Failed":
                self._advance(pod, known)

    def evict(self, name: str) -> None:
        self._stop(self._pods[name])
        failed = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        self._store.set_status("pods", name, failed | {"conditions": []})

    def close(self) -> None:
        for running in self._pods.values():
            self._stop(running)
        self._http.close()

    def _end(self, name: str, known: Running) -> None:
        self._stop(known)
        self._store.delete("pods", name)
        del self._pods[name]

    def _stop(self, known: Running) -> None:
        if known.process:
            known.process.stop()
        known.process, known.ready = None, False

    def _advance(self, pod: Json, known: Running) -> None:
        if known.process is None and time.monotonic() >= known.next_try:
            self._try(pod, known)
        elif known.process:
            self._probe(pod, known)

    def _try(self, pod: Json, known: Running) -> None:
        container, known.next_try = pod["spec"]["containers"][0], time.monotonic() + BACK_OFF_S
        environment = {item["name"]: item.get("value", "") for item in container.get("env", [])}
        known.tries += 1
        try:
            known.process = self.run(environment | {"image": container["image"]}, known.ip, port(container))
            self._say(pod, known, {"running": {}})
        except NoNode:
            unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
            why = {"message": "0/1 nodes are available: 1 Insufficient memory."}
            self._set(pod, "Pending", [unscheduled | why], [])
        except NoImage as error:
            reason = "ErrImagePull" if known.tries == 1 else "ImagePullBackOff"
            self._say(pod, known, {"waiting": {"reason": reason, "message": str(error)}})
        except Crash as crash:
            known.ended, known.restarts = crash.ended, known.restarts + 1
            self._say(pod, known, {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}})

    def _probe(self, pod: Json, known: Running) -> None:
        if time.monotonic() < known.next_probe:
            return
        known.next_probe = time.monotonic() + PROBE_EVERY_S * (10 if known.ready else 1)
        try:
            place = f"http://{known.ip}:{port(pod['spec']['containers'][0])}/readyz"
            known.ready = self._http.get(place).status_code == 200
        except httpx.HTTPError:
            known.ready = False
        self._say(pod, known, {"running": {}})

    def _say(self, pod: Json, known: Running, state: Json) -> None:
        container = pod["spec"]["containers"][0]
        said = {"name": container["name"], "image": container["image"], "imageID": "", "state": state}
        last = {"lastState": {"terminated": known.ended}} if known.ended else {}
        ready = {"type": "Ready", "status": str(known.ready)}
        phase = "Running" if known.process or known.ended else "Pending"
        scheduled = {"type": "PodScheduled", "status": "True"}
        self._set(
            pod,
            phase,
            [scheduled, ready],
            [said | last | {"ready": known.ready, "restartCount": known.restarts}],
            known.ip,
        )

    def _set(self, pod: Json, phase: str, conditions: list[Json], containers: list[Json], ip: str = "") -> None:
        status = {"phase": phase, "conditions": conditions, "containerStatuses": containers}
        self._store.set_status("pods", pod["metadata"]["name"], status | ({"podIP": ip} if ip else {}))


def port(container: Json) -> int:
    return int(container["ports"][0]["containerPort"])


def _addresses() -> "itertools.chain[str]":
    """Of the loopback network; another part of it in each process, so that tests may run side by side."""
    net = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}"
    return itertools.chain.from_iterable([f"{net}.{n}" for n in range(1, 255)] for _ in itertools.count())
