"""What the probes ask is there to be asked."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from core.config import ROOT, YAML_LOADER
from serving.routes import router
from tests.k8s.rendered import find, pods, rendering

pytestmark = pytest.mark.k8s
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def asked(deployment: str) -> set[str]:
    """Paths of the probes, also of those that a command asks."""
    (container,) = find(rendering("local"), "Deployment", deployment)["spec"]["template"]["spec"]["containers"]
    probes = [container[probe] for probe in PROBES]
    urls = [word for probe in probes for word in probe.get("exec", {}).get("command", []) if "://" in word]
    return {probe["httpGet"]["path"] for probe in probes if "httpGet" in probe} | {
        "/" + url.split("/", 3)[3] for url in urls
    }


def test_the_model_server_has_the_paths() -> None:
    assert asked("serving") == {"/healthz", "/readyz"} <= {getattr(route, "path", "") for route in router.routes}


@pytest.mark.parametrize("deployment", ["airflow-api", "airflow-dags"])
def test_airflow_has_the_paths(deployment: str) -> None:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.origin is not None
    document = Path(spec.origin).parent / "api_fastapi/core_api/openapi/v2-rest-api-generated.yaml"
    paths = yaml.load(document.read_text(), YAML_LOADER)["paths"]
    assert asked(deployment)
    assert asked(deployment) <= set(paths)


def test_commands_of_probes_are_in_the_image() -> None:
    words = {
        container[probe]["exec"]["command"][0]
        for pod in pods(rendering("local"))
        for container in pod.containers
        for probe in PROBES
        if "exec" in container.get(probe, {}) and "pipeline" in container["image"]
    }
    assert words == {"beats", "healthy"}
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text().split("FROM base AS pipeline")[1]
    assert all(f"docker/{word} " in dockerfile for word in words)
