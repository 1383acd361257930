"""The set-up steps in the cluster: Secrets that stay, with the rights that the Role gives, and the pod of a task."""

import base64
import copy
import json
from collections.abc import Iterator
from urllib.parse import urlparse

import kubernetes_validate
import pytest
from kubernetes.client import ApiException

from core import keys
from core.config import refuse_unknown
from core.errors import StackError
from pipeline.containers import cluster, pod_template, secrets
from pipeline.containers.cluster import ALL, SecretStore
from tests.k8s.policies.wiring import secrets_made, secrets_of
from tests.k8s.rendered import RENDERINGS, find, pods, rendering
from tests.k8s.secrets_api import NAMESPACE, SecretsApi

pytestmark = pytest.mark.k8s


@pytest.fixture
def api() -> Iterator[SecretsApi]:
    made = SecretsApi(find(rendering("local"), "Role", "setup")["rules"])
    yield made
    made.close()


@pytest.fixture
def store(api: SecretsApi) -> SecretStore:
    return SecretStore(api.client(), NAMESPACE)


def test_the_secrets_are_those_that_pods_ask_for(api: SecretsApi, store: SecretStore) -> None:
    store.fill()
    asked = set().union(*(secrets_of(pod) for wanted in RENDERINGS for pod in pods(rendering(wanted))))
    assert set(api.secrets()) - {ALL} == asked
    assert {name: set(content) for name, content in api.secrets().items() if name != ALL} == secrets_made()


def test_secrets_stay_and_a_newer_version_only_adds(api: SecretsApi, store: SecretStore) -> None:
    known = store.fill()
    before = copy.deepcopy(api.found)
    assert store.fill() == known
    assert api.found == before
    del api.found["secrets", "prometheus"]
    del api.found["secrets", ALL]["data"]["GRAFANA_PASSWORD"]
    again = store.fill()
    assert again.pop("GRAFANA_PASSWORD") != known.pop("GRAFANA_PASSWORD")
    assert again == known
    assert api.secrets()["prometheus"] == {"key": known["PROMETHEUS_KEY"]}


def test_api_keys_that_were_added_stay(api: SecretsApi, store: SecretStore) -> None:
    store.fill()
    found = keys.Keys.model_validate_json(api.secrets()[cluster.KEYS][cluster.KEYS_FILE])
    store.put(cluster.KEYS, {cluster.KEYS_FILE: found.added("me", keys.new_key(), ["predict"]).model_dump_json()})
    store.fill()
    after = keys.Keys.model_validate_json(api.secrets()[cluster.KEYS][cluster.KEYS_FILE])
    assert [key.name for key in after.keys] == ["stack", "prometheus", "me"]


def test_the_secret_of_a_consumer_holds_its_own_and_no_more(api: SecretsApi, store: SecretStore) -> None:
    store.fill()
    made = api.secrets()
    databases = {name: urlparse(url).path for name in made for key, url in made[name].items() if "postgresql" in url}
    assert databases == {"airflow": "/airflow", "airflow-task": "/loop", "mlflow": "/mlflow", "serving": "/loop"}
    assert not any(key.startswith("AIRFLOW") for name in ("airflow-task", "serving", "mlflow") for key in made[name])
    for content in made.values():
        refuse_unknown({name: value for name, value in content.items() if name != "LOOP_DATABASE_PASSWORD"})


def test_for_a_database_outside_fresh_secrets_are_printed() -> None:
    made = json.loads(cluster.printed("db.example.com"))["items"]
    assert {item["metadata"]["name"] for item in made} == {ALL, *secrets_made()}
    for item in made:
        kubernetes_validate.validate(item, "1.37", strict=True)
    (airflow,) = [item["data"] for item in made if item["metadata"]["name"] == "airflow"]
    url = base64.b64decode(airflow["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).decode()
    assert urlparse(url).hostname == "db.example.com"
    assert made != json.loads(cluster.printed("db.example.com"))["items"]


def test_the_step_may_not_read_what_others_made(api: SecretsApi, store: SecretStore) -> None:
    api.found["secrets", "of-somebody"] = {"metadata": {"name": "of-somebody"}, "data": {}}
    with pytest.raises(ApiException, match="403"):
        store.read("of-somebody")
    with pytest.raises(ApiException, match="403"):
        store.put("of-somebody", {"key": "value"})


def test_databases_are_made_by_the_superuser_that_was_made(postgres: str) -> None:
    host = postgres.partition("host=")[2] or str(urlparse(postgres).hostname)
    known = {secrets.password_of(secrets.SUPERUSER): ""}
    with cluster.superuser(known, host.replace("%2F", "/")) as server:
        assert server.execute("SELECT current_user").fetchone() == ("postgres",)


def test_a_database_that_never_comes_is_said() -> None:
    known = {secrets.password_of(secrets.SUPERUSER): ""}
    with pytest.raises(StackError, match="PostgreSQL at /nowhere does not answer"):
        cluster.superuser(known, "/nowhere", patience_s=0.0)


def test_the_template_becomes_the_pod_that_airflow_reads(api: SecretsApi) -> None:
    objects = rendering("local")
    api.rules = find(objects, "Role", "airflow-scheduler")["rules"]
    api.found["podtemplates", "airflow-task"] = find(objects, "PodTemplate", "airflow-task")
    made = pod_template.pod(api.client(), NAMESPACE, "airflow-task")
    assert (made["apiVersion"], made["kind"]) == ("v1", "Pod")
    assert made["metadata"]["labels"]["app.kubernetes.io/name"] == "airflow-task"
    assert [container["name"] for container in made["spec"]["containers"]] == ["base"]
