"""The rendered Deployments and the Role of tasks, given to the deploy target: it works and uses every right."""

from pathlib import Path

import pytest

from core.errors import DeployError
from core.releases import Release
from pipeline.deploy.kubernetes import CANARY, SERVING, KubernetesTarget
from tests.k8s.policies.rights import granted
from tests.k8s.rendered import Object, find, rendering
from tests.kubernetes_api.cluster import FakeCluster
from tests.kubernetes_api.stubs import Stubs

pytestmark = pytest.mark.k8s


def cluster(folder: Path, rules: list[Object]) -> FakeCluster:
    """With the two Deployments as the overlay has them."""
    made = FakeCluster(folder, Stubs(), rules)
    for name in (SERVING, CANARY):
        found = find(rendering("local"), "Deployment", name)
        del found["metadata"]["namespace"]
        made.create(found)
    return made


def target(made: FakeCluster) -> KubernetesTarget:
    return KubernetesTarget(made.client(), patience_s=5.0, poll_s=0.05)


def test_the_target_releases_with_the_rights_of_a_task_and_needs_all_of_them(tmp_path: Path) -> None:
    objects = rendering("local")
    made = cluster(tmp_path, find(objects, "Role", "airflow-task")["rules"])
    try:
        target(made).apply(Release("1", None))
        assert target(made).status() == Release("1", None)
        target(made).apply(Release("1", "2", 50.0))
        assert {(pod.deployment, pod.serves) for pod in target(made).pods()} == {(SERVING, "1"), (CANARY, "2")}
        target(made).apply(Release("2", None))
        assert {(pod.deployment, pod.serves) for pod in target(made).pods()} == {(SERVING, "2")}
        used = {(what, name if what == "deployments" else "*", verb) for verb, what, name in made.api.asked}
        assert used == granted(objects)["airflow-task"]
    finally:
        made.close()


def test_with_the_rights_of_another_account_it_is_refused(tmp_path: Path) -> None:
    made = cluster(tmp_path, find(rendering("local"), "Role", "airflow-api")["rules"])
    try:
        with pytest.raises(DeployError, match="forbidden"):
            target(made).apply(Release("1", None))
    finally:
        made.close()
