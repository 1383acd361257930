"""What pods run where no model server is needed: something that answers /readyz and /release as one does."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.kubernetes_api.kubelet import OUT_OF_MEMORY, Crash, NoImage, NoNode, Process

Json = dict[str, Any]


class Stub:
    """A server of one version. `ready` and what it says may be changed while it runs."""

    def __init__(self, ip: str, port: int, version: str | None, role: str, percent: float) -> None:
        self.refuses = False  # who sends no key
        self.ready, self.reason = version is not None, None if version else "the registry has no champion"
        alone = {"champion": version, "canary": None, "percent": 0.0}
        tried = {"champion": "1", "canary": version, "percent": percent}
        self.release: Json = {**(tried if role == "canary" else alone), "shadow": None, "refused": {}}
        self.headers: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer((ip, port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Stubs:
    """Starts them, as the versions' fates are. `says` is added to what the servers of a version say."""

    def __init__(self) -> None:
        self.fates: dict[str, Exception] = {}
        self.refused: dict[str, str] = {}
        self.sick: dict[str, str] = {}
        self.says: dict[str, Json] = {}
        self.started: list[Stub] = []

    def __call__(self, environment: Mapping[str, str], ip: str, port: int) -> Process:
        version = environment.get("LOOP_VERSION")
        if fate := self.fates.get(version or ""):
            raise fate
        role, percent = environment.get("LOOP_ROLE", "champion"), float(environment.get("LOOP_CANARY_PERCENT", 100))
        stub = Stub(ip, port, version, role, percent)
        if reason := self.refused.get(version or "") or self.sick.get(version or ""):
            stub.ready, stub.reason = False, f"version {version} is refused: {reason}"
        if version in self.refused:
            stub.release["refused"] = {version: self.refused[version]}
        stub.release |= self.says.get(version or "", {})
        self.started.append(stub)
        return stub


FATES = {
    "image": NoImage('Back-off pulling image "closed-loop/serving:1"'),
    "crash": Crash(3),
    "memory": OUT_OF_MEMORY,
    "node": NoNode(),
}


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stub.headers.append({name.lower(): value for name, value in self.headers.items()})
            if stub.refuses and self.path == "/release":
                self._send(401, {"detail": "send an API key"})
            elif self.path == "/readyz":
                self._send(200 if stub.ready else 503, {"ready": stub.ready, "reason": stub.reason})
            else:
                self._send(200, stub.release)

        def _send(self, status: int, content: Json) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
