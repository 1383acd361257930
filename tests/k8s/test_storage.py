"""MLflow as its Deployment starts it, artifacts on S3: what goes in lies in the bucket, and the probes are answered."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.drills.forge import wait_until
from tests.k8s.rendered import Object, find, of_kind, rendering
from tests.serving.process import free_port

pytestmark = pytest.mark.k8s
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://{host}:{port}")
    yield boto3.resource("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="artifacts")
    server.stop()


@contextmanager
def mlflow(objects: list[Object], folder: Path) -> Iterator[httpx.Client]:
    """With the arguments and settings of the production overlay, but for place and port."""
    container = find(objects, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    (settings,) = [item["data"] for item in of_kind(objects, "ConfigMap") if "mlflow" in item["metadata"]["name"]]
    assert settings["MLFLOW_ARTIFACTS_DESTINATION"].startswith("s3://")
    port = free_port()
    arguments = [str(port) if word == "5000" else word.replace("0.0.0.0", "127.0.0.1") for word in container["args"]]
    places = {
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://artifacts/loop",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/m.db",
    }
    env = {**os.environ, **settings, **places, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen([sys.executable, "-m", *arguments], env=env, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            wait_until(lambda: _answers(client, container["startupProbe"]), 120, "MLflow answers")
            yield client
    finally:
        server.terminate()
        server.wait(30)


def _answers(client: httpx.Client, probe: dict[str, Any]) -> bool:
    """As a kubelet asks: by address, unless the probe names a host."""
    headers = {header["name"]: header["value"] for header in probe["httpGet"].get("httpHeaders", [])}
    try:
        answer = client.get(probe["httpGet"]["path"], headers={"Host": "10.1.2.3:5000", **headers})
    except httpx.TransportError:
        return False
    return answer.is_success


def test_artifacts_lie_in_the_bucket_and_probes_answer(bucket: Any, tmp_path: Path) -> None:
    objects = rendering("production")
    container = find(objects, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    with mlflow(objects, tmp_path) as client:
        place = "/api/2.0/mlflow-artifacts/artifacts/dvc/file"
        assert client.put(place, content=b"data", headers={"Host": "mlflow:5000"}).is_success
        assert client.get(place, headers={"Host": "mlflow:5000"}).content == b"data"
        assert [item.key for item in bucket.objects.all()] == ["loop/dvc/file"]
        assert _answers(client, container["livenessProbe"])
        assert _answers(client, container["readinessProbe"])
        assert client.get(place, headers={"Host": "elsewhere"}).status_code == 403
