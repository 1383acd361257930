"""The Kubernetes target against a fake API server: what it promises like every target, what it does when pods fail, and
when others want something else at the same time.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import DeployError
from core.releases import Release
from pipeline.deploy import kubernetes_api
from pipeline.deploy.kubernetes import KubernetesTarget, Superseded, canary_size
from pipeline.deploy.kubernetes_api import Cluster
from pipeline.deploy.kubernetes_rollout import Look, Rollout
from pipeline.deploy.kubernetes_words import Trouble
from tests.kubernetes_api.cluster import FakeCluster, canary, deployment
from tests.kubernetes_api.servers import Servers
from tests.kubernetes_api.stubs import FATES, Stubs
from tests.pipeline.target import PROMISES, Ground, registry

pytestmark = pytest.mark.k8s

RIGHTS: list[dict[str, Any]] = [
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "resourceNames": ["serving", "serving-canary"],
        "verbs": ["get", "patch"],
    },
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
]


def target(fake: FakeCluster, inside: bool = True, key: str = "") -> KubernetesTarget:
    return KubernetesTarget(fake.client(inside, key), patience_s=1.0, poll_s=0.02)


@pytest.fixture
def stubs() -> Stubs:
    return Stubs()


@pytest.fixture
def fake(tmp_path: Path, stubs: Stubs) -> Iterator[FakeCluster]:
    """Before the first release, and with no rights but those that the target needs."""
    made = FakeCluster(tmp_path, stubs, RIGHTS)
    made.create(deployment(progressDeadlineSeconds=3))
    made.create(canary(progressDeadlineSeconds=3))
    yield made
    made.close()


@pytest.fixture
def served(fake: FakeCluster) -> FakeCluster:
    """Version 1 is served."""
    target(fake).apply(Release("1", None))
    fake.api.asked.clear()
    return fake


def names(fake: FakeCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in fake.store.list("pods") if "deletionTimestamp" not in pod["metadata"]}


def patches(fake: FakeCluster) -> list[str]:
    return [name for verb, _, name in fake.api.asked if verb == "patch"]


def until(holds: Callable[[], Any], patience_s: float = 10) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# as every target ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """Model servers in the pods."""
    versions = registry(tmp_path)
    cluster = FakeCluster(tmp_path, Servers(tmp_path / "pods", versions.url), RIGHTS)
    cluster.create(deployment())
    yield Ground(KubernetesTarget(cluster.client(), patience_s=5, poll_s=0.05), versions.release)
    cluster.close()
    versions.close()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_kubernetes_target_keeps_its_promises(promise: Callable[[Ground], None], ground: Ground) -> None:
    promise(ground)


# applying -------------------------------------------------------------------------------------------------------------


def test_the_first_release_pins_pods_that_followed_the_registry(fake: FakeCluster) -> None:
    assert target(fake).status() is None
    target(fake).apply(Release("1", None))
    found = target(fake).pods()
    assert [(pod.deployment, pod.version, pod.serves, pod.ready) for pod in found] == [("serving", "1", "1", True)] * 2


def test_it_touches_nothing_but_its_own_fields(served: FakeCluster) -> None:
    spec = served.store.get("deployments", "serving")["spec"]
    wanted = deployment(progressDeadlineSeconds=3)["spec"]
    wanted["template"]["metadata"]["labels"] |= {"closed-loop/version": "1"}
    wanted["template"]["spec"]["containers"][0]["env"].append({"name": "LOOP_VERSION", "value": "1"})
    assert spec["template"] == wanted["template"]
    assert spec["selector"] == {"matchLabels": {"app.kubernetes.io/name": "serving", "track": "champion"}}


def test_applying_again_writes_nothing_and_replaces_no_pod(served: FakeCluster) -> None:
    before = names(served)
    target(served).apply(Release("1", None))
    assert patches(served) == []
    assert names(served) == before


def test_a_label_that_kubectl_apply_does_not_know_survives_it(served: FakeCluster) -> None:
    served.edit("serving", "kubectl-client-side-apply", progressDeadlineSeconds=4)
    target(served).apply(Release("1", None))
    assert patches(served) == []


def test_without_a_champion_there_is_nothing_to_deploy(fake: FakeCluster) -> None:
    with pytest.raises(DeployError, match="no champion"):
        target(fake).apply(Release(None, None))


# what fails -----------------------------------------------------------------------------------------------------------


def cannot(fate: str) -> Callable[[FakeCluster, Stubs], None]:
    return lambda fake, stubs: stubs.fates.update({"2": FATES[fate]})


def is_refused(fake: FakeCluster, stubs: Stubs) -> None:
    stubs.refused["2"] = "its files do not match the digest recorded at registration"


def never_becomes_ready(fake: FakeCluster, stubs: Stubs) -> None:
    stubs.sick["2"] = "the look-ups are empty"


def is_not_what_is_served(fake: FakeCluster, stubs: Stubs) -> None:
    stubs.says["2"] = {"champion": "1"}


def has_no_quota(fake: FakeCluster, stubs: Stubs) -> None:
    fake.controller.most_pods = 2


FAILURES = {
    "image": (cannot("image"), "the image closed-loop/serving:1 cannot be pulled: Back-off pulling image"),
    "crash": (cannot("crash"), r"crashes: exit code 3, restarted \d+ times; `kubectl logs serving-\S+ --previous`"),
    "memory": (cannot("memory"), r"ran out of memory \(limit 640Mi\); raise resources.limits.memory of serving"),
    "node": (cannot("node"), r"no progress for 3 s: no node takes pod .*Insufficient memory"),
    "refused": (is_refused, "refuses version 2: its files do not match the digest"),
    "never ready": (never_becomes_ready, "no progress for 3 s: pod .* is not ready: .*the look-ups are empty"),
    "wrong version": (is_not_what_is_served, "serves 1, not 2"),
    "quota": (has_no_quota, "the namespace's quota is used up: .*exceeded quota: pods, requested: pods=1"),
}


@contextmanager
def watched(fake: FakeCluster) -> Iterator[list[int]]:
    """How many pods that serve version 1 stood behind the Service, again and again."""
    seen, stop = list[int](), threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            pods = fake.store.list("pods", {"closed-loop/version": "1"})
            seen.append(sum("deletionTimestamp" not in pod["metadata"] for pod in pods))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield seen
    stop.set()
    watcher.join()


@pytest.mark.parametrize("what", FAILURES)
def test_a_version_that_cannot_be_served_is_undone_and_says_why(served: FakeCluster, stubs: Stubs, what: str) -> None:
    inject, reason = FAILURES[what]
    inject(served, stubs)
    before = names(served)
    with watched(served) as ready, pytest.raises(DeployError, match=reason) as caught:
        target(served).apply(Release("2", None))
    assert str(caught.value).startswith("version 2 is not deployed: ")
    assert str(caught.value).endswith("; version 1 is back")
    assert target(served).status() == Release("1", None)
    assert served.store.get("deployments", "serving")["metadata"]["annotations"]["closed-loop/version"] == "1"
    if what != "wrong version":  # those were ready, so pods of version 1 made room for them
        assert min(ready) == 2
        assert names(served) == before


def test_a_first_version_that_cannot_be_served_leaves_pods_that_follow_the_registry(
    fake: FakeCluster, stubs: Stubs
) -> None:
    stubs.refused["1"] = "no digest"
    with pytest.raises(DeployError, match="nothing was deployed before"):
        target(fake).apply(Release("1", None))
    template = fake.store.get("deployments", "serving")["spec"]["template"]
    assert template == deployment()["spec"]["template"]


def test_a_pod_that_was_evicted_and_replaced_is_no_hindrance(served: FakeCluster) -> None:
    gone = served.store.list("pods")[0]["metadata"]["name"]
    served.kubelet.evict(gone)
    target(served).apply(Release("1", None))
    assert served.store.get("pods", gone)["status"]["phase"] == "Failed"
    target(served).apply(Release("2", None))
    assert target(served).status() == Release("2", None)


def test_pods_that_fall_sick_after_their_release_are_reported_and_stay(served: FakeCluster, stubs: Stubs) -> None:
    for stub in stubs.started:
        stub.ready, stub.reason = False, "the spool is full"
    until(lambda: not served.service())
    with pytest.raises(DeployError, match="the spool is full; it is the last version that all pods served, so it"):
        target(served).apply(Release("1", None))
    assert patches(served) == []


def test_a_fault_that_goes_away_is_not_held_against_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Look(False, (0,), Trouble("it is away"), 60)
    looks = [fault, *[Look(False, (0,), None, 60)] * 30, fault, Look(True, (1,), None, 60)]
    monkeypatch.setattr(Rollout, "_look", lambda _: looks.pop(0))
    Rollout(None, "serving", "1", patience_s=0.2, poll_s=0.01).wait()  # type: ignore[arg-type]
    assert looks == []


@pytest.mark.parametrize(
    ("spec", "complaint"), [({"paused": True}, "is paused"), ({"replicas": 0}, "is scaled to no pods")]
)
def test_a_deployment_that_cannot_roll_is_a_reason(served: FakeCluster, spec: dict[str, Any], complaint: str) -> None:
    served.edit("serving", **spec)
    with pytest.raises(DeployError, match=complaint):
        target(served).apply(Release("2", None))


def test_a_deployment_that_is_not_there_is_a_reason(tmp_path: Path, stubs: Stubs) -> None:
    fake = FakeCluster(tmp_path, stubs)
    try:
        with pytest.raises(DeployError, match="there is no deployment serving in namespace closed-loop"):
            target(fake).apply(Release("1", None))
    finally:
        fake.close()


def test_a_right_that_is_missing_is_named(served: FakeCluster) -> None:
    served.api.rules = RIGHTS[:1]
    with pytest.raises(DeployError, match=r'cannot list resource "pods".*the Role of k8s/base'):
        target(served).apply(Release("2", None))


# others, at the same time ---------------------------------------------------------------------------------------------


def in_background(apply: Callable[[], None]) -> tuple[threading.Thread, list[DeployError]]:
    failed: list[DeployError] = []

    def run() -> None:
        try:
            apply()
        except DeployError as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, failed


def test_who_deploys_last_wins_and_the_other_is_told(served: FakeCluster, stubs: Stubs) -> None:
    stubs.sick["2"] = "it loads for ever"
    thread, failed = in_background(lambda: target(served).apply(Release("2", None)))
    until(lambda: any(pod.version == "2" for pod in target(served).pods()))
    target(served).apply(Release("3", None))
    thread.join()
    assert [type(error) for error in failed] == [Superseded]
    assert "version 3 was deployed by somebody else while 2 was rolled out" in str(failed[0])
    assert target(served).status() == Release("3", None)


def test_two_may_deploy_the_same_at_once(served: FakeCluster) -> None:
    thread, failed = in_background(lambda: target(served).apply(Release("2", None)))
    target(served).apply(Release("2", None))
    thread.join()
    assert failed == []
    assert target(served).status() == Release("2", None)


def test_a_version_that_somebody_pinned_by_hand_is_not_overwritten(served: FakeCluster) -> None:
    """As `kubectl set env deployment/serving LOOP_VERSION=9` does."""
    template = served.store.get("deployments", "serving")["spec"]["template"]
    template["spec"]["containers"][0]["env"][-1]["value"] = "9"
    served.edit("serving", "kubectl-set", template=template)
    where = r'\.spec\.template\.spec\.containers\[name="serving"\]\.env\[name="LOOP_VERSION"\]\.value'
    with pytest.raises(DeployError, match=f'nothing was changed: conflict with "kubectl-set" using apps/v1: {where}'):
        target(served).apply(Release("2", None))
    template = served.store.get("deployments", "serving")["spec"]["template"]
    assert template["spec"]["containers"][0]["env"].pop() == {"name": "LOOP_VERSION", "value": "9"}
    served.edit("serving", "kubectl-set", template=template)  # as `kubectl set env deployment/serving LOOP_VERSION-`
    target(served).apply(Release("2", None))
    assert target(served).status() == Release("2", None)


@pytest.mark.parametrize("what", ["", "refused"])
def test_writes_of_others_to_the_same_object_do_not_disturb(served: FakeCluster, stubs: Stubs, what: str) -> None:
    if what:
        is_refused(served, stubs)
    stop, n = threading.Event(), iter(range(10**6))

    def write() -> None:
        while not stop.wait(0.1):
            served.store.change(
                "deployments",
                "serving",
                lambda found: found["metadata"].setdefault("labels", {}).update(n=next(n)),
                "x",
            )

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        if what:
            with pytest.raises(DeployError, match="version 1 is back"):
                target(served).apply(Release("2", None))
        else:
            target(served).apply(Release("2", None))
    finally:
        stop.set()
        writer.join()


def test_an_api_server_that_is_away_for_a_moment_is_waited_for(served: FakeCluster, stubs: Stubs) -> None:
    stubs.sick["2"] = "it is slow"
    thread, failed = in_background(lambda: target(served).apply(Release("2", None)))
    until(lambda: any(stub.reason for stub in stubs.started[4:]))
    served.api.down = True
    time.sleep(0.2)
    served.api.down = False
    for stub in stubs.started:
        stub.ready = True
    stubs.sick.clear()
    thread.join()
    assert failed == []
    assert target(served).status() == Release("2", None)


def test_an_api_server_that_stays_away_is_an_error(served: FakeCluster) -> None:
    served.api.down = True
    with pytest.raises(DeployError, match="the Kubernetes API does not answer: the server is currently unable"):
        target(served).apply(Release("2", None))


# canary ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("champions", "percent", "pods", "each"),
    [(2, 5, 1, 15), (2, 50, 2, 100), (9, 10, 1, 100), (20, 10, 3, 76.67), (40, 5, 3, 71.67), (1, 0.01, 1, 0.02)],
)
def test_a_canary_has_as_many_pods_as_its_share_needs(champions: int, percent: float, pods: int, each: float) -> None:
    assert canary_size(champions, percent) == (pods, each)
    assert each * pods / (champions + pods) == pytest.approx(percent, abs=0.01)


def test_a_canary_for_everybody_gets_nine_pods_in_ten() -> None:
    assert canary_size(2, 100) == (18, 100)


def test_a_canary_is_tried_beside_the_champion_promoted_and_removed(served: FakeCluster, stubs: Stubs) -> None:
    champions = names(served)
    target(served).apply(Release("1", "2", 10))
    assert target(served).status() == Release("1", "2", 10)
    assert champions < names(served)
    assert len(served.service()) == 3
    assert [(pod.version, pod.serves) for pod in target(served).pods() if pod.deployment == "serving-canary"] == [
        ("2", "2")
    ]
    target(served).apply(Release("2", None))
    assert target(served).status() == Release("2", None)
    assert len(served.service()) == 2


def test_the_canary_answers_until_its_version_is_the_champion(served: FakeCluster, stubs: Stubs) -> None:
    target(served).apply(Release("1", "2", 50))
    served.api.asked.clear()
    target(served).apply(Release("2", None))
    assert (patches(served)[0], patches(served)[-1]) == ("serving", "serving-canary")


def test_an_aborted_canary_is_gone_before_anything_else(served: FakeCluster) -> None:
    target(served).apply(Release("1", "2", 50))
    served.api.asked.clear()
    target(served).apply(Release("1", None))
    assert patches(served) == ["serving-canary"]
    assert target(served).status() == Release("1", None)


def test_a_canary_may_be_applied_again_grow_and_change_its_version(served: FakeCluster) -> None:
    for release in [Release("1", "2", 10), Release("1", "2", 50), Release("1", "3", 50)]:
        for _ in range(2):
            served.api.asked.clear()
            target(served).apply(release)
        assert patches(served) == []
        assert target(served).status() == release


def test_no_pod_of_a_canary_ever_starts_with_another_version(served: FakeCluster, stubs: Stubs) -> None:
    before = len(stubs.started)
    target(served).apply(Release("1", "2", 50))
    started = [(stub.release["canary"], stub.release["percent"]) for stub in stubs.started[before:]]
    assert started == [("2", 100.0)] * 2


@pytest.mark.parametrize("what", ["image", "crash", "memory", "refused", "never ready", "quota"])
def test_a_canary_that_does_not_start_is_removed_and_says_why(served: FakeCluster, stubs: Stubs, what: str) -> None:
    inject, reason = FAILURES[what]
    inject(served, stubs)
    before = names(served)
    with watched(served) as ready, pytest.raises(DeployError, match=reason) as caught:
        target(served).apply(Release("1", "2", 10))
    assert str(caught.value).startswith("the canary of version 2 does not start: ")
    assert target(served).status() == Release("1", None)
    assert (names(served), min(ready)) == (before, 2)


def test_a_promotion_that_fails_leaves_no_canary(served: FakeCluster, stubs: Stubs) -> None:
    target(served).apply(Release("1", "2", 10))
    stubs.fates["2"] = FATES["crash"]
    with pytest.raises(DeployError, match="version 1 is back"):
        target(served).apply(Release("2", None))
    assert target(served).status() == Release("1", None)


def test_without_the_component_a_canary_is_refused(tmp_path: Path, stubs: Stubs) -> None:
    fake = FakeCluster(tmp_path, stubs)
    fake.create(deployment())
    try:
        target(fake).apply(Release("1", None))
        with pytest.raises(DeployError, match="there is no deployment serving-canary; the component"):
            target(fake).apply(Release("1", "2", 10))
    finally:
        fake.close()


# shadow ---------------------------------------------------------------------------------------------------------------


def test_a_shadow_is_deployed_when_every_pod_has_it(served: FakeCluster, stubs: Stubs) -> None:
    thread, failed = in_background(lambda: target(served).apply(Release("1", "2", shadow=True)))
    time.sleep(0.2)
    assert thread.is_alive()
    for stub in stubs.started:
        stub.release["shadow"] = "2"
    thread.join()
    assert failed == []
    assert target(served).status() == Release("1", "2", shadow=True)
    assert patches(served) == []


def test_a_shadow_that_the_pods_refuse_is_an_error_and_the_champion_stays(served: FakeCluster, stubs: Stubs) -> None:
    for stub in stubs.started:
        stub.release["refused"] = {"2": "no digest"}
    with pytest.raises(DeployError, match="refuses version 2: no digest; it is the last version that all pods served"):
        target(served).apply(Release("1", "2", shadow=True))
    assert target(served).status() == Release("1", None)


# what is served, and going back ---------------------------------------------------------------------------------------


def test_each_pod_says_for_itself_what_it_serves_and_why_not(served: FakeCluster, stubs: Stubs) -> None:
    target(served).apply(Release("1", "2", 50))
    canaries = [stub for stub in stubs.started if stub.release["canary"]]
    canaries[0].ready, canaries[0].reason = False, "the spool is full"
    canaries[1].release |= {"canary": "7"}
    until(lambda: sum(pod.ready for pod in target(served).pods()) == 3)
    found = [pod for pod in target(served).pods() if pod.deployment == "serving-canary"]
    assert {(pod.version, pod.ready, pod.serves, pod.why) for pod in found} == {
        ("2", False, "2", "the spool is full"),
        ("2", True, "7", ""),
    }


def test_pods_that_differ_are_no_release(served: FakeCluster, stubs: Stubs) -> None:
    stubs.started[-1].release |= {"champion": "7"}
    with pytest.raises(DeployError, match=r"pods differ.* serves 7"):
        target(served).status()


def test_a_rollback_is_one_call_that_says_how_long_it_took(served: FakeCluster) -> None:
    target(served).apply(Release("2", None))
    target(served).apply(Release("2", "3", 10))
    started = time.monotonic()
    found = target(served).rollback()
    assert found.version == "1"
    assert 0 < found.seconds <= time.monotonic() - started
    assert target(served).status() == Release("1", None)
    with pytest.raises(DeployError, match="there is none to go back to"):
        target(served).rollback()


def test_a_version_that_never_served_is_nothing_to_go_back_to(served: FakeCluster, stubs: Stubs) -> None:
    target(served).apply(Release("2", None))
    is_refused_too = Release("3", None)
    stubs.refused["3"] = "no digest"
    with pytest.raises(DeployError):
        target(served).apply(is_refused_too)
    assert target(served).rollback().version == "1"


# how pods are reached -------------------------------------------------------------------------------------------------


def test_inside_the_cluster_pods_are_asked_by_address_with_our_key(served: FakeCluster, stubs: Stubs) -> None:
    assert target(served, key="secret").status() == Release("1", None)
    assert {verb for verb, resource, _ in served.api.asked} == {"get", "list"}
    assert any(headers.get("x-api-key") == "secret" for stub in stubs.started for headers in stub.headers)


def test_from_outside_they_are_asked_through_the_api_server(served: FakeCluster, stubs: Stubs) -> None:
    with pytest.raises(DeployError, match='cannot get resource "pods/proxy"'):
        target(served, inside=False).status()
    served.api.rules = [*RIGHTS, {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]
    target(served, inside=False, key="secret").apply(Release("2", None))
    assert target(served, inside=False).status() == Release("2", None)
    sent = [headers for stub in stubs.started for headers in stub.headers if "x-api-key" in headers]
    assert sent
    assert not any("authorization" in headers for headers in sent)


@pytest.mark.parametrize("inside", [True, False])
def test_a_pod_that_refuses_our_key_is_an_error_that_names_the_setting(
    served: FakeCluster, stubs: Stubs, inside: bool
) -> None:
    served.api.rules = [*RIGHTS, {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]
    for stub in stubs.started:
        stub.refuses = True
    with pytest.raises(DeployError, match=r"refuses us .*send an API key.*; LOOP_SERVING_KEY must be a key that may"):
        target(served, inside).status()


def test_the_cluster_is_the_one_that_kubectl_talks_to(served: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(served.kubeconfig))
    found = Cluster.found("")
    assert (found.namespace, found.inside) == ("closed-loop", False)
    assert found.deployment("serving") is not None
    found.close()


def test_without_a_cluster_the_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    with pytest.raises(DeployError, match=r"there is no cluster to deploy to: .*LOOP_TARGET=kubernetes needs one"):
        Cluster.found("")


def test_in_a_pod_the_cluster_is_that_of_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.config import incluster_config

    for name, content in {"token": "t", "ca.crt": "c", "namespace": "mine"}.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(kubernetes_api, "INSIDE", tmp_path / "namespace")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(kubernetes_api.client, "ApiClient", lambda settings: settings)
    found = Cluster.found("")
    assert (found.namespace, found.inside) == ("mine", True)
    assert found.api.host == "https://10.0.0.1:443"
