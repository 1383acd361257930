"""The pods of k8s/overlays/local, run one by one: each starts and answers its probes with no more than it asks for.

There is no cluster here, so what needs its API is left out: the scheduler runs tasks itself, and reads no PodTemplate.
"""

import json
from collections.abc import Iterator

import pytest

from pipeline.containers import cluster, secrets
from tests.compose.node import NETWORK, Node, docker
from tests.compose.project import Project
from tests.drills.forge import wait_until
from tests.k8s.rendered import Object, Pod, pods, rendering

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
PATIENCE_S = 180
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
DATABASES = """
import json, sys
from pipeline.containers import cluster, databases, secrets
known = json.loads(sys.argv[1])
databases.create(cluster.superuser(known, "postgres"), secrets.passwords(known))
"""


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return rendering("local")


@pytest.fixture(scope="module")
def node(objects: list[Object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """With PostgreSQL and its databases."""
    Project("").compose("build", "setup", "mlflow", "serving", timeout_s=1500)
    known = secrets.generate()
    made = {**cluster.objects(known), cluster.KEYS: {cluster.KEYS_FILE: cluster.key_file(cluster.keys.Keys(), known)}}
    node = Node(objects, made, tmp_path_factory.mktemp("pods"))
    try:
        assert started(node, the(objects, "postgres")) == PROBES
        alone = ("--rm", "--read-only", "--network", NETWORK, "closed-loop/pipeline:local")
        docker("run", *alone, "python", "-c", DATABASES, json.dumps(known))
        yield node
    finally:
        node.close()


def the(objects: list[Object], called: str) -> Pod:
    (pod,) = [pod for pod in pods(objects) if pod.lasts and pod.owner["metadata"]["name"] == called]
    return pod


def started(node: Node, pod: Pod, probes: tuple[str, ...] = PROBES, **more: str) -> tuple[str, ...]:
    """Start it; return the probes that it answers."""
    called = node.start(pod, without=("pod-template",), **more)
    (container,) = pod.spec["containers"]
    for probe in probes:
        about = f"{called} answers its {probe}"
        wait_until(lambda probe=probe: node.answers(called, container, container[probe]), PATIENCE_S, about)  # type: ignore[misc]
    return tuple(probe for probe in PROBES if node.answers(called, container, container[probe]))


def test_pods_start_and_answer_their_probes(node: Node, objects: list[Object]) -> None:
    assert started(node, the(objects, "mlflow")) == PROBES
    assert started(node, the(objects, "airflow-api")) == PROBES
    assert started(node, the(objects, "airflow-dags")) == PROBES
    assert started(node, the(objects, "airflow-scheduler"), AIRFLOW__CORE__EXECUTOR="LocalExecutor") == PROBES


def test_a_model_server_without_a_champion_lives_and_is_not_ready(node: Node, objects: list[Object]) -> None:
    assert started(node, the(objects, "serving"), PROBES[:2]) == PROBES[:2]
