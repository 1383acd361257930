"""The part of an API server that the set-up steps use: Secrets and PodTemplates of one namespace, under a Role.

From the API reference: a create of what is there is a 409, a merge patch changes the keys that it names, no rule is
a 403. Base64 that is none is refused.
"""

import base64
import binascii
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kubernetes import client

from tests.k8s.rendered import Object
from tests.kubernetes_api.server import _allows as allows

NAMESPACE = "closed-loop"
PATH = re.compile(rf"/api/v1/namespaces/{NAMESPACE}/([a-z]+)(?:/([a-z0-9-]+))?")
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch"}
Answer = tuple[int, Object]


class SecretsApi:
    """`found` is what there is, by resource and name."""

    def __init__(self, rules: list[Object]) -> None:
        self.rules, self.found = rules, dict[tuple[str, str], Object]()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self) -> client.CoreV1Api:
        settings = client.Configuration()
        settings.host = f"http://127.0.0.1:{self._server.server_port}"
        return client.CoreV1Api(client.ApiClient(settings))

    def secrets(self) -> dict[str, dict[str, str]]:
        """Their contents, by name."""
        return {
            name: {key: base64.b64decode(value).decode() for key, value in item["data"].items()}
            for (resource, name), item in self.found.items()
            if resource == "secrets"
        }

    def answer(self, method: str, path: str, body: Object) -> Answer:
        place = PATH.fullmatch(path)
        if place is None:
            return 404, {}
        resource, name = place[1], place[2] or ""
        if not any(allows(rule, VERBS[method], "", resource, name) for rule in self.rules):
            return 403, {"message": f"cannot {VERBS[method]} {resource} {name}"}
        if method == "POST":
            return self._create((resource, body["metadata"]["name"]), body)
        if (resource, name) not in self.found:
            return 404, {}
        if method == "PATCH" and _is_encoded(body):
            self.found[resource, name]["data"] |= body["data"]
        return 200, self.found[resource, name]

    def _create(self, key: tuple[str, str], body: Object) -> Answer:
        if key in self.found:
            return 409, {}
        if not _is_encoded(body):
            return 422, {}
        self.found[key] = body
        return 201, body


def _is_encoded(body: Object) -> bool:
    try:
        return all(base64.b64decode(value, validate=True) is not None for value in body["data"].values())
    except binascii.Error:
        return False


def _handler(api: SecretsApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            sent: Any = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, content = api.answer(self.command, self.path, json.loads(sent or b"{}"))
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = handle_any  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
