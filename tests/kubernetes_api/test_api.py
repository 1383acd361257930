"""The fake API server, asked by the official client: versions, patches, refusals, and the proxy to pods."""

import json
import time
from collections.abc import Callable

import pytest
from kubernetes import client
from kubernetes.client import ApiException

from tests.kubernetes_api import stubs as running
from tests.kubernetes_api.cluster import FakeCluster, deployment
from tests.kubernetes_api.fields import Json
from tests.kubernetes_api.store import APPLY, MERGE

pytestmark = pytest.mark.k8s

NAMESPACE = "closed-loop"


@pytest.fixture
def apps(fake: FakeCluster) -> client.AppsV1Api:
    fake.create(deployment())
    return client.AppsV1Api(fake.client().api)


def labels(**named: str) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "serving", "labels": named}}


def apply(apps: client.AppsV1Api, body: Json, manager: str = "me", **options: bool) -> client.V1Deployment:
    given = {"field_manager": manager, "_content_type": APPLY, **options}
    return apps.patch_namespaced_deployment("serving", NAMESPACE, body, **given)


def refused(call: Callable[[], object]) -> ApiException:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value


def until(holds: Callable[[], bool], patience_s: float = 10) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_changed_spec_is_a_new_generation_and_a_changed_label_is_not(apps: client.AppsV1Api) -> None:
    before = apps.read_namespaced_deployment("serving", NAMESPACE).metadata
    after = apply(apps, labels(a="1")).metadata
    assert (after.labels, after.generation) == ({"a": "1"}, before.generation)
    assert int(after.resource_version) > int(before.resource_version)
    scaled = apply(apps, labels(a="1") | {"spec": {"paused": True}})
    assert scaled.metadata.generation == before.generation + 1
    assert {each.manager for each in scaled.metadata.managed_fields} == {"kubectl-client-side-apply", "me"}


def test_applying_the_same_again_writes_nothing(apps: client.AppsV1Api) -> None:
    body = labels() | {"spec": {"paused": True}}
    apply(apps, body)
    until(lambda: apps.read_namespaced_deployment("serving", NAMESPACE).status.observed_generation == 2)
    seen = {apply(apps, body).metadata.resource_version for _ in range(3)}
    assert len(seen) == 1


def test_a_conflict_is_a_409_that_lists_who_has_which_field(apps: client.AppsV1Api) -> None:
    error = refused(lambda: apply(apps, labels() | {"spec": {"replicas": 3}}))
    assert (error.status, error.reason) == (409, "Conflict")
    assert '"reason": "FieldManagerConflict"' in error.body
    assert '"field": ".spec.replicas"' in error.body
    assert 'conflict with \\"kubectl-client-side-apply\\" using apps/v1: .spec.replicas' in error.body
    assert apply(apps, labels() | {"spec": {"replicas": 3}}, force=True).spec.replicas == 3


def test_a_version_that_is_not_the_present_one_is_a_409(apps: client.AppsV1Api) -> None:
    body = labels(a="1")
    body["metadata"]["resourceVersion"] = "0"
    error = refused(lambda: apply(apps, body))
    assert error.status == 409
    assert "the object has been modified" in error.body


def test_a_merge_patch_conflicts_with_nobody_and_takes_the_field(apps: client.AppsV1Api) -> None:
    body = {"spec": {"replicas": 3}}
    found = apps.patch_namespaced_deployment("serving", NAMESPACE, body, field_manager="me", _content_type=MERGE)
    assert found.spec.replicas == 3
    mine = next(each for each in found.metadata.managed_fields if each.manager == "me")
    assert (mine.operation, mine.fields_v1) == ("Update", {"f:spec": {"f:replicas": {}}})


def test_an_apply_needs_a_manager_and_fields_that_exist(apps: client.AppsV1Api) -> None:
    error = refused(lambda: apply(apps, labels(), manager=""))
    assert (error.status, "fieldManager" in error.body) == (422, True)
    error = refused(lambda: apply(apps, labels() | {"spec": {"replica": 3}}))
    assert (error.status, "field not declared in schema" in error.body) == (400, True)


def test_what_is_not_there_is_a_404_and_a_stranger_gets_a_401(fake: FakeCluster, apps: client.AppsV1Api) -> None:
    assert refused(lambda: apps.read_namespaced_deployment("nothing", NAMESPACE)).status == 404
    fake.api.token = "another"
    assert refused(lambda: apps.read_namespaced_deployment("serving", NAMESPACE)).status == 401


def test_rights_are_those_of_the_role(fake: FakeCluster, apps: client.AppsV1Api) -> None:
    fake.api.rules = [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["serving"], "verbs": ["get"]}
    ]
    assert apps.read_namespaced_deployment("serving", NAMESPACE).metadata.name == "serving"
    for call in (
        lambda: apps.read_namespaced_deployment("other", NAMESPACE),
        lambda: apps.read_namespaced_deployment("serving", "default"),
        lambda: apply(apps, labels()),
        lambda: client.CoreV1Api(apps.api_client).list_namespaced_pod(NAMESPACE),
    ):
        assert refused(call).status == 403
    said = json.loads(refused(lambda: apply(apps, labels())).body)["message"]
    assert 'deployments.apps "serving" is forbidden' in said
    assert 'cannot patch resource "deployments" in API group "apps" in the namespace "closed-loop"' in said


def test_the_proxy_keeps_the_api_servers_own_header_and_passes_on_what_the_pod_says(
    fake: FakeCluster, apps: client.AppsV1Api, stubs: running.Stubs
) -> None:
    until(lambda: len(stubs.started) == 2)
    pod = client.CoreV1Api(apps.api_client).list_namespaced_pod(NAMESPACE).items[0]
    until(lambda: bool(stubs.started[0].headers and stubs.started[1].headers))
    core = client.CoreV1Api(apps.api_client)

    def ask() -> object:
        name = f"{pod.metadata.name}:8000"
        return core.connect_get_namespaced_pod_proxy_with_path(name, NAMESPACE, "readyz", _headers={"X-API-Key": "k"})

    error = refused(ask)
    assert (error.status, "the registry has no champion" in error.body) == (503, True)
    sent = next(headers for stub in stubs.started for headers in stub.headers if "x-api-key" in headers)
    assert (sent["x-api-key"], "authorization" in sent) == ("k", False)
