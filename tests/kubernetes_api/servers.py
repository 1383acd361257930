"""What pods run where it matters: the model server itself, each with a folder of its own that ends with the pod."""

from collections.abc import Mapping
from pathlib import Path

from tests.kubernetes_api.kubelet import Process
from tests.serving.process import ServerHere


class Servers:
    """Starts them with what the pod's environment says, and `settings` beside it, as from a ConfigMap."""

    def __init__(self, folder: Path, mlflow_url: str, **settings: str) -> None:
        self._folder, self._mlflow_url, self._settings = folder, mlflow_url, settings

    def __call__(self, environment: Mapping[str, str], ip: str, port: int) -> Process:
        names = {name: f"LOOP_{name.upper()}" for name in ("version", "role", "canary_percent")}
        here = {name: environment[variable] for name, variable in names.items() if variable in environment}
        return ServerHere(self._folder / ip, self._mlflow_url, host=ip, port=port, **self._settings, **here)
