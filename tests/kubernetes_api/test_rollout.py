"""The fake's Deployment controller and node: what a rolling update does, and what is said when it does not get on."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.kubernetes_api import stubs as running
from tests.kubernetes_api.cluster import FakeCluster, deployment
from tests.kubernetes_api.controller import is_ready
from tests.kubernetes_api.fields import Json

pytestmark = pytest.mark.k8s


def pods(fake: FakeCluster) -> list[Json]:
    return fake.store.list("pods")


def status(fake: FakeCluster) -> Json:
    return dict(fake.store.get("deployments", "serving").get("status", {}))


def condition(fake: FakeCluster, kind: str) -> Json:
    return next((each for each in status(fake).get("conditions", []) if each["type"] == kind), {})


def until(holds: Callable[[], Any], patience_s: float = 10) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def pin(fake: FakeCluster, version: str) -> None:
    template = fake.store.get("deployments", "serving")["spec"]["template"]
    template["spec"]["containers"][0]["env"] = [{"name": "LOOP_VERSION", "value": version}]
    fake.edit("serving", template=template)


def settled(fake: FakeCluster, version: str, n: int = 2) -> bool:
    found = [pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods(fake) if is_ready(pod)]
    return found == [version] * n and len(pods(fake)) == n


@pytest.fixture
def rolled(fake: FakeCluster) -> FakeCluster:
    """Two pods of version 1."""
    fake.create(deployment(progressDeadlineSeconds=1))
    pin(fake, "1")
    until(lambda: settled(fake, "1"))
    return fake


def test_a_rolling_update_never_has_too_few_or_too_many(rolled: FakeCluster) -> None:
    pin(rolled, "2")
    ready, every = [], []
    while not settled(rolled, "2"):
        alive = [pod for pod in pods(rolled) if "deletionTimestamp" not in pod["metadata"]]
        ready.append(sum(map(is_ready, alive)))
        every.append(len(alive))
        time.sleep(0.005)
    assert min(ready) == 2
    assert max(every) == 3
    until(lambda: condition(rolled, "Progressing").get("reason") == "NewReplicaSetAvailable")
    found = status(rolled)
    assert found["observedGeneration"] == rolled.store.get("deployments", "serving")["metadata"]["generation"]
    assert {found[name] for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")} == {2}


def test_going_back_takes_up_the_pods_that_are_left(rolled: FakeCluster, stubs: running.Stubs) -> None:
    old = {pod["metadata"]["name"] for pod in pods(rolled)}
    stubs.fates["2"] = running.FATES["crash"]
    pin(rolled, "2")
    until(lambda: len(pods(rolled)) == 3)
    pin(rolled, "1")
    until(lambda: settled(rolled, "1"))
    assert {pod["metadata"]["name"] for pod in pods(rolled)} == old


def test_scaling_makes_and_ends_pods(rolled: FakeCluster) -> None:
    for n in (4, 1, 0):
        rolled.edit("serving", replicas=n)
        until(lambda n=n: settled(rolled, "1", n))
    assert rolled.service() == []


@pytest.mark.parametrize(
    ("fate", "state", "reason"),
    [
        ("image", "waiting", "ImagePullBackOff"),
        ("crash", "waiting", "CrashLoopBackOff"),
        ("memory", "lastState", "OOMKilled"),
    ],
)
def test_a_pod_that_fails_says_how_while_the_old_ones_stay(
    rolled: FakeCluster, stubs: running.Stubs, fate: str, state: str, reason: str
) -> None:
    stubs.fates["2"] = running.FATES[fate]
    pin(rolled, "2")

    def said() -> bool:
        found = [each for pod in pods(rolled) for each in pod["status"].get("containerStatuses", [])]
        parts = [each["state"] if state == "waiting" else each.get(state, {}) for each in found]
        return any(reason == inner.get("reason") for part in parts for inner in part.values())

    until(said)
    until(lambda: condition(rolled, "Progressing").get("reason") == "ProgressDeadlineExceeded")
    assert len(rolled.service()) == 2


def test_a_pod_for_which_no_node_has_room_is_pending(rolled: FakeCluster, stubs: running.Stubs) -> None:
    stubs.fates["2"] = running.FATES["node"]
    pin(rolled, "2")
    until(
        lambda: any(
            each.get("reason") == "Unschedulable" for pod in pods(rolled) for each in pod["status"]["conditions"]
        )
    )


def test_a_quota_that_is_used_up_is_a_replica_failure(rolled: FakeCluster) -> None:
    rolled.controller.most_pods = 2
    pin(rolled, "2")
    until(lambda: "exceeded quota: pods" in condition(rolled, "ReplicaFailure").get("message", ""))
    assert len(rolled.service()) == 2
    rolled.controller.most_pods = 3
    until(lambda: settled(rolled, "2"))
    until(lambda: condition(rolled, "ReplicaFailure") == {})


def test_an_evicted_pod_is_replaced(rolled: FakeCluster) -> None:
    gone = pods(rolled)[0]["metadata"]["name"]
    rolled.kubelet.evict(gone)
    until(lambda: sum(is_ready(pod) for pod in pods(rolled)) == 2)
    assert rolled.store.get("pods", gone)["status"]["reason"] == "Evicted"


def test_a_paused_deployment_does_not_roll(rolled: FakeCluster) -> None:
    rolled.edit("serving", paused=True)
    pin(rolled, "2")
    time.sleep(0.2)
    assert settled(rolled, "1")
