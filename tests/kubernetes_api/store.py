"""The objects of one namespace, as an API server keeps them: resource versions, generations, patches, refusals.

Written from https://kubernetes.io/docs/reference/using-api/api-concepts.
"""

import copy
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.kubernetes_api import fields
from tests.kubernetes_api.fields import Conflicts, Json, Owners

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
OURS = {"apiVersion", "kind", "status"}  # not a manager's fields, like most of metadata
MANAGED = {"labels", "annotations"}
KNOWN = {  # of a Deployment, as far as anybody patches it: apply refuses what is not in the schema
    "": {"apiVersion", "kind", "metadata", "spec", "status"},
    "metadata": {"name", "namespace", "labels", "annotations", "resourceVersion"},
    "spec": {"replicas", "selector", "template", "strategy", "paused", "progressDeadlineSeconds", "minReadySeconds"}
    | {"revisionHistoryLimit"},
    "template": {"metadata", "spec"},
    "strategy": {"type", "rollingUpdate"},
}


class Refused(Exception):
    """What the API server answers instead: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status"""

    def __init__(self, code: int, reason: str, message: str, causes: list[Json] | None = None) -> None:
        super().__init__(message)
        details = {"details": {"causes": causes}} if causes else {}
        said = {"status": "Failure", "message": message, "reason": reason, "code": code, **details}
        self.code, self.status = code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, **said}


class Store:
    """Kinds are plural and lower case: deployments, pods. Thread-safe."""

    def __init__(self, namespace: str) -> None:
        self.namespace, self.lock = namespace, threading.RLock()
        self._objects: dict[tuple[str, str], Json] = {}
        self._owners: dict[tuple[str, str], Owners] = {}
        self._version = 0

    def get(self, kind: str, name: str) -> Json:
        with self.lock:
            if (kind, name) not in self._objects:
                raise Refused(404, "NotFound", f'{kind} "{name}" not found')
            return copy.deepcopy(self._objects[kind, name])

    def shown(self, kind: str, name: str) -> Json:
        """As the API shows it, with who set what."""
        with self.lock:
            found = self.get(kind, name)
            return found | {"metadata": found["metadata"] | {"managedFields": fields.managed(self._owners[kind, name])}}

    def list(self, kind: str, labels: Mapping[str, str] = {}) -> list[Json]:
        with self.lock:
            found = [item for (each, _), item in self._objects.items() if each == kind]
            return [copy.deepcopy(i) for i in found if labels.items() <= i["metadata"].get("labels", {}).items()]

    def create(self, kind: str, content: Json, manager: str) -> None:
        with self.lock:
            content = json.loads(json.dumps(content))  # no two places share an object
            content["metadata"] |= {"namespace": self.namespace, "generation": 1}
            content.setdefault("status", {})
            self._owners[kind, content["metadata"]["name"]] = fields.update({}, {}, _owned(content), manager)
            self._keep(kind, content)

    def delete(self, kind: str, name: str) -> None:
        with self.lock:
            del self._objects[kind, name]
            self._owners.pop((kind, name), None)

    def change(self, kind: str, name: str, edit: Callable[[Json], None], manager: str) -> None:
        """Any write that is no apply."""
        with self.lock:
            before = self._objects[kind, name]
            after = copy.deepcopy(before)
            edit(after)
            owners = fields.update(_owned(before), self._owners[kind, name], _owned(after), manager)
            self._write(kind, name, after, owners)

    def set_status(self, kind: str, name: str, status: Json) -> None:
        """The status subresource: it changes no generation, and counts as a write only where it says something new."""
        with self.lock:
            found = self._objects[kind, name]
            if found.get("status") != status:
                self._keep(kind, found | {"status": copy.deepcopy(status)})

    def patch(self, kind: str, name: str, body: Json, how: str, manager: str | None, force: bool) -> Json:
        with self.lock:
            live = self.get(kind, name)
            _same_version(kind, live, body)
            if how == APPLY:
                self._apply(kind, name, body, manager, force)
            elif how == MERGE:
                if force:
                    raise Refused(422, "Invalid", "PatchOptions.meta.k8s.io: force: Forbidden: may not be specified")
                self.change(kind, name, lambda object: merge(object, body), manager or "unknown")
            else:
                raise Refused(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {how}")
            return self.shown(kind, name)

    def _apply(self, kind: str, name: str, body: Json, manager: str | None, force: bool) -> None:
        if not manager:
            raise Refused(
                422, "Invalid", "PatchOptions.meta.k8s.io: fieldManager: Required value: is required for apply"
            )
        _declared(body)
        live = self._objects[kind, name]
        try:
            after, owners = fields.apply(_owned(live), self._owners[kind, name], _owned(body), manager, force)
        except Conflicts as conflicts:
            raise _conflict(conflicts) from None
        kept = {key: value for key, value in live.items() if key in OURS}
        metadata = {key: value for key, value in live["metadata"].items() if key not in MANAGED}
        whole = {**kept, **after, "metadata": metadata | after.get("metadata", {})}
        self._write(kind, name, whole, owners)

    def _write(self, kind: str, name: str, after: Json, owners: Owners) -> None:
        before = self._objects[kind, name]
        if after == before and owners == self._owners[kind, name]:
            return
        if after["spec"] != before["spec"]:
            after["metadata"]["generation"] += 1
        self._owners[kind, name] = owners
        self._keep(kind, after)

    def _keep(self, kind: str, content: Json) -> None:
        self._version += 1
        content["metadata"] = content["metadata"] | {"resourceVersion": str(self._version)}
        self._objects[kind, content["metadata"]["name"]] = content


def merge(into: Json, patch: Mapping[str, Any]) -> None:
    """RFC 7386: null removes, objects are merged, everything else is replaced."""
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, Mapping):
            if not isinstance(into.get(name), dict):
                into[name] = {}
            merge(into[name], value)
        else:
            into[name] = value


def _owned(content: Json) -> Json:
    """What has managers: neither the status nor what the API server writes itself."""
    metadata = {name: value for name, value in content.get("metadata", {}).items() if name in MANAGED}
    rest = {name: value for name, value in content.items() if name not in OURS and name != "metadata"}
    return copy.deepcopy({**rest, **({"metadata": metadata} if metadata else {})})


def _same_version(kind: str, live: Json, body: Json) -> None:
    wanted = body.get("metadata", {}).get("resourceVersion")
    if wanted is not None and wanted != live["metadata"]["resourceVersion"]:
        name = live["metadata"]["name"]
        said = "the object has been modified; please apply your changes to the latest version and try again"
        raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {kind}.apps "{name}": {said}')


def _declared(body: Json) -> None:
    spec = body.get("spec", {})
    levels = {"": body, "metadata": body.get("metadata", {}), "spec": spec, "template": spec.get("template", {})}
    for level, content in (levels | {"strategy": spec.get("strategy", {})}).items():
        for name in content.keys() - KNOWN[level]:
            raise Refused(400, "BadRequest", f".{level}.{name}: field not declared in schema")


def _conflict(conflicts: Conflicts) -> Refused:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}" using apps/v1', "field": field}
        for manager, field in conflicts.found
    ]
    said = ", ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    n = len(causes)
    return Refused(409, "Conflict", f"Apply failed with {n} conflict{'s' * (n > 1)}: {said}", causes)
