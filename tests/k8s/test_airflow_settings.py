"""Every setting of Airflow in k8s/ is one that Airflow or its Kubernetes provider has: it ignores a misspelt one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import ROOT
from tests.k8s.policies.wiring import secrets_made
from tests.k8s.rendered import of_kind, pods, rendering

pytestmark = pytest.mark.k8s
KNOWN = """
import json
from airflow.configuration import retrieve_configuration_description as described
print(json.dumps({section: sorted(about["options"]) for section, about in described().items()}))
"""


def used() -> set[str]:
    """Names of variables: from settings, from Secrets, from the pods themselves."""
    objects = rendering("local")
    settings = {key for item in of_kind(objects, "ConfigMap") for key in item["data"]}
    own = {each["name"] for pod in pods(objects) for container in pod.containers for each in container.get("env", [])}
    return {each for each in settings | own | set().union(*secrets_made().values()) if each.startswith("AIRFLOW__")}


def test_airflow_knows_every_setting(tmp_path: Path) -> None:
    env = os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", KNOWN], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    known = json.loads(done.stdout.splitlines()[-1])
    options = {f"AIRFLOW__{section}__{option}".upper() for section in known for option in known[section]}
    assert "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE" in used()
    assert used() - options == set()
