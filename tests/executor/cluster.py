"""As much of an API server and a node as Airflow's KubernetesExecutor uses: pods are processes of this machine.

Written from https://kubernetes.io/docs/reference/using-api/api-concepts (lists, watches, label selectors). Variables
from ConfigMaps and Secrets come from the test; what a container may use is not enforced.
"""

import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import yaml

Json = dict[str, Any]
PODS = "/api/v1/namespaces/closed-loop/pods"
DISCOVERY: dict[str, Json] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [{"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["list"]}],
    },
}
OUT_OF_MEMORY = {"exitCode": 137, "reason": "OOMKilled"}
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


class PodCluster:
    """`starves(pod, what it wrote)`: whether the kernel now ends the pod for want of memory."""

    def __init__(self, folder: Path, starves: Callable[[Json, str], bool]) -> None:
        self.pods: dict[str, Json] = {}
        self.made: list[Json] = []
        self.verbs: set[str] = set()
        self.environment: dict[str, str] = {}  # of every pod, as from ConfigMaps and Secrets
        self._folder, self._starves = folder, starves
        self._watches: list[queue.Queue[Json]] = []
        self._lock, self._versions = threading.RLock(), itertools.count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self) -> Path:
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "of-the-test"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "closed-loop"}}],
        }
        path = self._folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path

    # the API server -----------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Json) -> tuple[int, Json]:
        if path in DISCOVERY:
            return 200, DISCOVERY[path]
        name = path.removeprefix(PODS).strip("/")
        self.verbs.add(VERBS.get(method) or ("get" if name else "list"))
        if method == "POST":
            return 201, self._create(body)
        with self._lock:
            if not name:
                return 200, {"kind": "PodList", "metadata": {}, "items": self._listed(query)}
            if name not in self.pods:
                return 404, {"kind": "Status", "code": 404, "reason": "NotFound"}
            pod = self.pods[name]
            if method == "DELETE":
                pod["metadata"]["deletionTimestamp"] = _now()
                self._tell("DELETED", self.pods.pop(name))
            elif method == "PATCH":
                pod["metadata"]["labels"] |= body["metadata"].get("labels", {})
                self._tell("MODIFIED", pod)
            return 200, pod

    def events(self, selector: str) -> Iterator[Json]:
        """Of a watch, from the beginning."""
        self.verbs.add("watch")
        news: queue.Queue[Json] = queue.Queue()
        with self._lock:
            for pod in self.pods.values():
                news.put({"type": "ADDED", "object": json.loads(json.dumps(pod))})
            self._watches.append(news)
        while True:
            event = news.get()
            if selected(selector, event["object"]["metadata"]["labels"]):
                yield event

    def _create(self, pod: Json) -> Json:
        with self._lock:
            pod["metadata"] |= {"uid": str(next(self._versions)), "creationTimestamp": _now()}
            pod["status"] = {"phase": "Pending"}
            self.pods[pod["metadata"]["name"]] = pod
            self.made.append(pod)
            self._tell("ADDED", pod)
        threading.Thread(target=self._run, args=(pod,), daemon=True).start()
        return pod

    def _listed(self, query: Mapping[str, str]) -> list[Json]:
        phase = query.get("fieldSelector", "").removeprefix("status.phase=")
        return [
            pod
            for pod in self.pods.values()
            if selected(query.get("labelSelector", ""), pod["metadata"]["labels"])
            and phase in ("", pod["status"]["phase"])
        ]

    def _tell(self, kind: str, pod: Json) -> None:
        pod["metadata"]["resourceVersion"] = str(next(self._versions))
        for watch in self._watches:
            watch.put({"type": kind, "object": json.loads(json.dumps(pod))})

    # the node -----------------------------------------------------------------------------------------------------

    def _run(self, pod: Json) -> None:
        (container,) = pod["spec"]["containers"]
        own = {item["name"]: item["value"] for item in container["env"] if "value" in item}
        command = [sys.executable if word == "python" else word for word in container["args"]]
        log = self._folder / f"{pod['metadata']['name']}.log"
        self._say(pod, "Running", {"running": {}})
        with log.open("wb") as out:
            env = {**self.environment, **own}
            process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=True)
            killed = False
            while process.poll() is None:
                if self._starves(pod, log.read_text(errors="replace")):
                    os.killpg(process.pid, signal.SIGKILL)
                    killed = True
                time.sleep(0.1)
        ended = OUT_OF_MEMORY if killed else {"exitCode": process.returncode, "reason": "Error"}
        self._say(pod, "Failed" if ended["exitCode"] else "Succeeded", {"terminated": ended})

    def _say(self, pod: Json, phase: str, state: Json) -> None:
        container = {"name": "base", "state": state, "image": "", "imageID": "", "ready": False, "restartCount": 0}
        with self._lock:
            pod["status"] = {"phase": phase, "containerStatuses": [container]}
            self._tell("MODIFIED", pod)


def selected(selector: str, labels: Mapping[str, str]) -> bool:
    """a=1, a!=1, a, `a notin (1,2)`: all of them must hold."""
    for each in filter(None, re.split(r",(?![^(]*\))", selector)):
        name, operator, value = (part.strip() for part in re.split(r"(!=|=| notin |$)", each, maxsplit=1))
        found = labels.get(name)
        wanted = {"=": found == value, "!=": found != value, "": found is not None}
        if not wanted.get(operator, found not in value.strip("()").split(",")):
            return False
    return True


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _handler(cluster: PodCluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            place = urlparse(self.path)
            query = {name: values[0] for name, values in parse_qs(place.query).items()}
            if query.get("watch", "").lower() == "true":
                return self._stream(query.get("labelSelector", ""))
            size = int(self.headers["Content-Length"] or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            status, content = cluster.answer(self.command, place.path, query, body)
            sent = json.dumps(content).encode()
            self._head(status, "Content-Length", str(len(sent)))
            self.wfile.write(sent)

        do_GET = do_PATCH = do_POST = do_DELETE = handle_any  # noqa: N815  http.server's names

        def _head(self, status: int, name: str, value: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header(name, value)
            self.end_headers()

        def _stream(self, selector: str) -> None:
            self._head(200, "Transfer-Encoding", "chunked")
            for event in cluster.events(selector):
                line = json.dumps(event).encode() + b"\n"
                try:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                except OSError:
                    return

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
