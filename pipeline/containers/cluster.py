"""`python -m pipeline.containers.cluster`: secrets and databases as in compose, but in a namespace of Kubernetes.

Every password and key becomes part of a Secret, one for each consumer; `closed-loop` keeps them all, and no pod mounts
it. What is there stays, what a newer version needs is added.

With the name of a PostgreSQL HOST it touches nothing: it prints such Secrets, freshly generated, for `kubectl create`.
"""

import base64
import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psycopg

from core import keys, logs
from core.errors import StackError
from pipeline.containers import databases, secrets
from pipeline.containers.secrets import SUPERUSER

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

ALL, KEYS, KEYS_FILE = "closed-loop", "serving-keys", "keys.json"
PATIENCE_S = 300.0  # for PostgreSQL, whose image may have to be pulled
ABSENT, EXISTS = 404, 409
LABELS = {"app.kubernetes.io/part-of": "closed-loop"}
Row = tuple[object, ...]

log = logging.getLogger(__name__)


def main() -> None:
    """In the cluster."""
    logs.configure()
    api, namespace = connect()
    known = SecretStore(api, namespace).fill()
    with superuser(known, databases.HOST) as server:
        databases.create(server, secrets.passwords(known))


def superuser(known: Mapping[str, str], host: str, patience_s: float = PATIENCE_S) -> "psycopg.Connection[Row]":
    """A connection to PostgreSQL, which may be starting: it reads its password from what was just made."""
    password = known[secrets.password_of(SUPERUSER)]
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return psycopg.connect(
                host=host, user=SUPERUSER, password=password, dbname="postgres", autocommit=True, connect_timeout=5
            )
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise StackError(f"PostgreSQL at {host} does not answer within {patience_s:.0f} s: {error}") from error
            log.info("waiting for PostgreSQL")
            time.sleep(2)


def connect() -> tuple["CoreV1Api", str]:
    """The API server of the cluster that this runs in, and the namespace."""
    from kubernetes import client, config

    from pipeline.deploy.kubernetes_api import INSIDE

    config.load_incluster_config()
    return client.CoreV1Api(), INSIDE.read_text(encoding="utf-8").strip()


def objects(known: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The Secrets by name, but the one with the API keys: k8s/ says who mounts which."""
    return {
        "postgres": {"password": known[secrets.password_of(SUPERUSER)]},
        "mlflow": secrets.of_mlflow(known),
        "airflow": secrets.of_airflow(known),
        "airflow-passwords": {"passwords.json": secrets.of_people(known)},
        "airflow-task": secrets.of_tasks(known),
        "serving": secrets.of_serving(known),
        "prometheus": {"key": known[secrets.WATCHERS_KEY]},
        "grafana": {"password": known[secrets.GRAFANA]},
    }


def printed(host: str) -> str:
    """Fresh Secrets for a PostgreSQL at `host`, as a JSON list of objects."""
    known = secrets.generate() | {secrets.HOST: host}
    every = {ALL: known, **objects(known), KEYS: {KEYS_FILE: key_file(keys.Keys(), known)}}
    items = [{"apiVersion": "v1", "kind": "Secret", **secret(name, content)} for name, content in every.items()]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def secret(name: str, content: Mapping[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    return {"metadata": {"name": name, "labels": LABELS}, "data": data}


def key_file(found: keys.Keys, known: Mapping[str, str]) -> str:
    """The model server's API keys, with our own."""
    return secrets.admitted(found, known).model_dump_json(indent=1)


class SecretStore:
    """The Secrets of one namespace."""

    def __init__(self, api: "CoreV1Api", namespace: str) -> None:
        self._api, self._namespace = api, namespace

    def fill(self) -> dict[str, str]:
        """Make what is missing. Returns every secret by its name."""
        known = secrets.generate() | self.read(ALL)
        self.put(ALL, known)
        for name, content in objects(known).items():
            self.put(name, content)
        found = self.read(KEYS).get(KEYS_FILE)
        self.put(KEYS, {KEYS_FILE: key_file(keys.Keys.model_validate_json(found) if found else keys.Keys(), known)})
        return known

    def read(self, name: str) -> dict[str, str]:
        """Empty where there is no such Secret."""
        from kubernetes.client import ApiException

        try:
            found = self._api.read_namespaced_secret(name, self._namespace).data or {}
        except ApiException as error:
            if error.status == ABSENT:
                return {}
            raise
        return {key: base64.b64decode(value).decode() for key, value in found.items()}

    def put(self, name: str, content: Mapping[str, str]) -> None:
        """Make the Secret, or change these parts of it."""
        from kubernetes.client import ApiException

        body = secret(name, content)
        try:
            self._api.create_namespaced_secret(self._namespace, body)
        except ApiException as error:
            if error.status != EXISTS:
                raise
            self._api.patch_namespaced_secret(name, self._namespace, body)


if __name__ == "__main__":
    print(printed(sys.argv[1])) if sys.argv[1:] else main()
