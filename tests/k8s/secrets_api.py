"""The part of an API server that the set-up steps use: Secrets and PodTemplates of one namespace, under a Role.

From the API reference: a create of what is there is a 409, a merge patch changes the keys that it names, no rule is
a 403. Base64 that is none is refused.
"""

import base64
import binascii
import json
import re
from email.message import Message

from kubernetes import client

from tests.answering import Answering
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
        self._server = Answering(self.answer)
        self.close = self._server.close

    def client(self) -> client.CoreV1Api:
        settings = client.Configuration()
        settings.host = self._server.url
        return client.CoreV1Api(client.ApiClient(settings))

    def secrets(self) -> dict[str, dict[str, str]]:
        """Their contents, by name."""
        return {
            name: {key: base64.b64decode(value).decode() for key, value in item["data"].items()}
            for (resource, name), item in self.found.items()
            if resource == "secrets"
        }

    def answer(self, method: str, path: str, _headers: Message, sent: bytes) -> Answer:
        place, body = PATH.fullmatch(path), json.loads(sent or b"{}")
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
