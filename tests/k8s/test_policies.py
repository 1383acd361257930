"""Each rule for each rendering: the overlays, and the overlays with each component that can be added."""

import pytest

from core.config import refuse_unknown
from tests.k8s.policies import flows, rights
from tests.k8s.policies.every import POLICIES
from tests.k8s.rendered import COMPONENTS, OPTIONAL, RENDERINGS, name, of_kind, rendering

pytestmark = pytest.mark.k8s
API = (443, 6443, 8443)
BASE_FLOWS = {
    *((caller, flows.DNS, 53) for caller in (
        "airflow-api", "airflow-clean", "airflow-dags", "airflow-scheduler", "airflow-task", "mlflow", "serving",
    )),
    *((caller, flows.ANYWHERE, port) for port in API for caller in (  # the API server is no pod
        "airflow-api", "airflow-clean", "airflow-scheduler", "airflow-task",
    )),
    *((caller, "airflow-api", 8080) for caller in ("airflow-dags", "airflow-scheduler", "airflow-task")),
    *((caller, "mlflow", 5000) for caller in ("airflow-api", "airflow-task", "serving")),
    ("airflow-task", "serving", 8000),
}  # fmt: skip
ASKS_DATABASE = (
    "airflow-api", "airflow-clean", "airflow-dags", "airflow-scheduler", "airflow-task", "mlflow", "serving",
)  # fmt: skip
FLOWS = {
    "local": BASE_FLOWS
    | {(caller, "postgres", 5432) for caller in (*ASKS_DATABASE, "setup")}
    | {("setup", flows.DNS, 53), *(("setup", flows.ANYWHERE, port) for port in API)},
    "production": BASE_FLOWS
    | {(caller, flows.ANYWHERE, 5432) for caller in ASKS_DATABASE}
    | {("mlflow", flows.ANYWHERE, 443)},
}
MONITORING_FLOWS = {
    ("prometheus", flows.DNS, 53),
    ("grafana", flows.DNS, 53),
    ("prometheus", "serving", 8000),
    ("grafana", "prometheus", 9090),
}


@pytest.mark.parametrize("wanted", RENDERINGS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_rendering_keeps_every_rule(wanted: str, policy: str) -> None:
    assert list(POLICIES[policy](rendering(wanted))) == []


@pytest.mark.parametrize("wanted", [wanted for wanted in RENDERINGS if wanted.startswith("production")])
def test_production_names_images_by_digest(wanted: str) -> None:
    assert list(rights.digested(rendering(wanted))) == []


@pytest.mark.parametrize("wanted", RENDERINGS)
def test_connections_are_those_of_the_table_and_no_others(wanted: str) -> None:
    overlay, _, component = wanted.partition("+")
    more = MONITORING_FLOWS if component in ("monitoring", "all") else set()
    assert flows.flows(rendering(wanted)) == FLOWS[overlay] | more


@pytest.mark.parametrize("wanted", RENDERINGS)
def test_only_the_local_overlay_makes_the_namespace(wanted: str) -> None:
    made = [name(item) for item in of_kind(rendering(wanted), "Namespace")]
    assert made == (["Namespace/closed-loop"] if wanted.startswith("local") else [])


@pytest.mark.parametrize("wanted", RENDERINGS)
def test_settings_in_the_cluster_are_settings_of_the_loop(wanted: str) -> None:
    for item in of_kind(rendering(wanted), "ConfigMap"):
        refuse_unknown(item["data"])


def test_every_component_is_rendered_somewhere() -> None:
    built_in = {"canary", "namespace", "network-policy"}
    assert set(COMPONENTS) == built_in | set(OPTIONAL)
