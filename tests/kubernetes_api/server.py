"""The HTTP side of the fake API server: paths, verbs, content types, bearer token, RBAC, and the proxy to pods.

It has what the target may use and nothing else; any other path is a 404, any other verb a 405.
"""

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import httpx

from tests.answering import Answering
from tests.kubernetes_api.fields import Json
from tests.kubernetes_api.store import Refused, Store

DEPLOYMENT = re.compile(r"/apis/apps/v1/namespaces/([^/]+)/deployments/([^/]+)")
PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods")
PROXY = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/:]+):(\d+)/proxy/(.*)")
ALL: list[Json] = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
USER = "system:serviceaccount:closed-loop:of-the-test"


class ApiServer:
    """`rules` are those of a Role. `down` makes it answer 503. `asked` is what it was asked: verb, resource, name."""

    def __init__(self, store: Store, token: str, rules: Sequence[Json] = ALL) -> None:
        self.store, self.token, self.rules = store, token, rules
        self.down = False
        self.asked: list[tuple[str, str, str]] = []
        self._server = Answering(self.answer)
        self.url, self.close = self._server.url, self._server.close

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Status code, and JSON or bytes."""
        try:
            if self.down:
                raise Refused(503, "ServiceUnavailable", "the server is currently unable to handle the request")
            if headers["Authorization"] != f"Bearer {self.token}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            place = urlparse(url)
            query = {name: values[0] for name, values in parse_qs(place.query).items()}
            return self._route(method, unquote(place.path), query, headers, body)
        except Refused as refusal:
            return refusal.code, refusal.status

    def _route(self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes) -> tuple[int, Any]:
        if found := DEPLOYMENT.fullmatch(path):
            return 200, self._deployment(method, *found.groups(), query, headers, body)
        if found := PODS.fullmatch(path):
            self._allow(method, "list", "", "pods", found[1])
            items = self.store.list("pods", _labels(query.get("labelSelector", "")))
            return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}
        if found := PROXY.fullmatch(path):
            self._allow(method, "get", "", "pods/proxy", found[1], found[2])
            return self._proxy(found[2], int(found[3]), found[4], headers)
        raise Refused(404, "NotFound", "the server could not find the requested resource")

    def _deployment(
        self, method: str, namespace: str, name: str, query: dict[str, str], headers: Any, body: bytes
    ) -> Json:
        if method == "GET":
            self._allow(method, "get", "apps", "deployments", namespace, name)
            return self.store.shown("deployments", name)
        self._allow("PATCH" if method == "PATCH" else "", "patch", "apps", "deployments", namespace, name)
        how, force = headers["Content-Type"], query.get("force", "").lower() == "true"
        return self.store.patch("deployments", name, json.loads(body), how, query.get("fieldManager"), force)

    def _allow(self, method: str, verb: str, group: str, resource: str, namespace: str, name: str = "") -> None:
        """RBAC: https://kubernetes.io/docs/reference/access-authn-authz/rbac."""
        if method not in ("GET", "PATCH"):
            raise Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        self.asked.append((verb, resource, name))
        if namespace == self.store.namespace and any(_allows(rule, verb, group, resource, name) for rule in self.rules):
            return
        what = f"{resource}{'.' + group if group else ''}{f' {json.dumps(name)}' if name else ''} is forbidden"
        said = (
            f'User "{USER}" cannot {verb} resource "{resource}" in API group "{group}" in the namespace "{namespace}"'
        )
        raise Refused(403, "Forbidden", f"{what}: {said}")

    def _proxy(self, name: str, port: int, path: str, headers: Any) -> tuple[int, Any]:
        """To a pod, without the header that was for the API server itself."""
        ip = self.store.get("pods", name).get("status", {}).get("podIP")
        sent = {each: value for each, value in headers.items() if each.lower() not in ("authorization", "host")}
        try:
            with httpx.Client(trust_env=False, timeout=5) as http:
                answer = http.get(f"http://{ip}:{port}/{path}", headers=sent)
        except httpx.HTTPError as error:
            raise Refused(503, "ServiceUnavailable", f"error trying to reach service: {error}") from error
        return answer.status_code, answer.content


def _allows(rule: Json, verb: str, group: str, resource: str, name: str) -> bool:
    wanted = {"verbs": verb, "apiGroups": group, "resources": resource}
    if not all({value, "*"} & set(rule.get(what, [])) for what, value in wanted.items()):
        return False
    return not rule.get("resourceNames") or name in rule["resourceNames"]


def _labels(selector: str) -> dict[str, str]:
    """Of equality: a=1,b=2."""
    return dict(each.split("=", 1) for each in selector.split(",") if each)  # type: ignore[misc]
