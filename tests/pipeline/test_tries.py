"""Why a pod was lost, in words: the statuses are those of Kubernetes' documentation and of a real 1.36 cluster."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import tries


def pod(phase: str, ended: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    state = {"terminated": ended} if ended else {"running": {}}
    return {
        "metadata": {"name": "lifecycle-train-mlp-x1"},
        "spec": {"containers": [{"name": "base", "resources": {"limits": {"memory": "2Gi"}}}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "base", "state": state}], **status},
    }


OUT_OF_MEMORY = pod("Failed", {"reason": "OOMKilled", "exitCode": 137})
EVICTED = pod(
    "Failed",
    {"reason": "Error", "exitCode": 137},
    reason="Evicted",
    message="The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ",
)
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "for another"}


def test_a_pod_out_of_memory_says_so_with_its_limit_and_what_to_change() -> None:
    said = tries.why(OUT_OF_MEMORY) or ""
    assert said.startswith("pod lifecycle-train-mlp-x1 ran out of memory: it may use 2Gi. ")
    assert "`resources: {CANDIDATE: {memory: 4Gi}}` in problem.yaml" in said


def test_an_evicted_pod_says_what_its_node_lacked_and_what_to_change() -> None:
    said = tries.why(EVICTED) or ""
    assert "was evicted from its node: The node was low on resource: memory." in said
    assert "problem.yaml" in said


def test_a_pod_taken_off_its_node_says_by_what() -> None:
    said = tries.why(pod("Failed", {"reason": "Error", "exitCode": 143}, conditions=[DISRUPTED]))
    assert said == "pod lifecycle-train-mlp-x1 was taken off its node (PreemptionByScheduler): for another"


def test_a_kill_by_an_unknown_hand_is_not_called_out_of_memory_for_sure() -> None:
    said = tries.why(pod("Failed", {"reason": "Error", "exitCode": 137})) or ""
    assert "was killed (SIGKILL), as happens when memory runs out" in said


@pytest.mark.parametrize(
    "other",
    [pod("Running"), pod("Failed", {"reason": "Error", "exitCode": 1}), pod("Succeeded", {"exitCode": 0}), {
        "metadata": {"name": "new"}, "spec": {"containers": [{"name": "base"}]}, "status": {"phase": "Pending"}
    }],
    ids=["running", "failed by itself", "succeeded", "pending"],
)  # fmt: skip
def test_about_any_other_pod_nothing_is_said(other: dict[str, Any]) -> None:
    assert tries.why(other) is None


def test_the_retry_s_log_has_the_reason(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    asked: dict[str, Any] = {}

    def listed(namespace: str, **query: Any) -> Any:
        asked.update(query, namespace=namespace)
        return SimpleNamespace(data=json.dumps({"items": [OUT_OF_MEMORY, pod("Running")]}))

    api = SimpleNamespace(list_namespaced_pod=listed)
    monkeypatch.setattr("pipeline.containers.cluster.connect", lambda: (api, "closed-loop"))
    with caplog.at_level(logging.ERROR):
        tries.explain("dag_id=lifecycle,try_number=1")
    assert (asked["namespace"], asked["label_selector"]) == ("closed-loop", "dag_id=lifecycle,try_number=1")
    (record,) = caplog.records
    assert record.message.startswith("the try before this one was lost: pod lifecycle-train-mlp-x1 ran out of memory")
