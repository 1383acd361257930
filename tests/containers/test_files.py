"""What the container files promise, without an engine: pins, limits, rights, ports, and names that others use."""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from typing import Any

import pytest
import yaml

from core.config import ROOT
from pipeline.stack.services import QUIET

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
STEPS = {"setup", "databases", "airflow-migrate"}
LAPTOP_MB = 6 * 1024
ALONE = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import serving.__main__, uvloop, httptools, onnxruntime, psycopg
for package in ("serving", "problems"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith(".data") and ".tests" not in module.name:
            importlib.import_module(module.name)
"""


def lock(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pins = (line.partition(" ;")[0].split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {package: version.strip() for package, version in pins}


def test_the_images_install_the_versions_that_are_tested() -> None:
    tested = lock("requirements.lock")
    for name in ("serving", "mlflow", "pipeline"):
        pinned = lock(f"docker/{name}.lock")
        assert pinned
        assert {package: version for package, version in pinned.items() if tested.get(package) != version} == {}


def test_the_serving_lock_is_enough_for_the_server() -> None:
    pinned = set(lock("docker/serving.lock"))
    ours = {"core", "problems", "serving"}
    absent = [
        module
        for module, owners in packages_distributions().items()
        if module not in ours and not pinned & {owner.lower().replace("_", "-") for owner in owners}
    ]
    assert {"pandas", "mlflow", "airflow"} <= set(absent)
    done = subprocess.run([sys.executable, "-c", ALONE, *absent], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_serving_lock_holds_nothing_of_training() -> None:
    heavy = {"pandas", "scikit-learn", "torch", "apache-airflow", "mlflow", "mlflow-skinny", "pyarrow", "evidently"}
    assert heavy & set(lock("docker/serving.lock")) == set()


def test_the_installer_is_the_one_of_the_lock() -> None:
    assert f"ARG UV_VERSION={lock('requirements.lock')['uv']}\n" in DOCKERFILE


def test_no_image_reports_home() -> None:
    assert [f"{name}={value}" for name, value in QUIET.items() if f"{name}={value}" not in DOCKERFILE] == []


def test_every_image_runs_under_a_number_and_no_latest() -> None:
    images = re.findall(r"^FROM base AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.count("USER 10001:10001") == len(set(images) - {"builder"})
    assert [s["image"] for s in SERVICES.values() if "latest" in s["image"] or ":" not in s["image"]] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert "privileged" not in service
    assert "docker.sock" not in json.dumps(service)


@pytest.mark.parametrize("name", [name for name in SERVICES if "ports" in SERVICES[name]])
def test_ports_are_published_on_loopback_unless_told_otherwise(name: str) -> None:
    assert all(re.match(r"\$\{BIND:-127\.0\.0\.1\}:\$\{[A-Z_]+:-\d+\}:\d+$", port) for port in SERVICES[name]["ports"])


def test_everything_together_fits_a_small_laptop() -> None:
    limits = {name: int(s["mem_limit"].removesuffix("m")) for name, s in SERVICES.items() if name not in STEPS}
    assert sum(limits.values()) <= LAPTOP_MB


def test_services_wait_for_health_and_steps_for_their_end() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in STEPS else "service_healthy"
            assert how["condition"] == expected, other


def test_a_service_mounts_the_secrets_of_one_consumer_at_most() -> None:
    for name, service in SERVICES.items():
        mounted = [volume for volume in service.get("volumes", []) if volume.startswith("secrets")]
        assert name == "setup" or len(mounted) <= 1
