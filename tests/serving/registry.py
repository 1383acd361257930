"""A stand-in for MLflow's REST API, as far as core.releases reads it: a process of its own is too slow to restart here.

The same reader is tested against a real MLflow server in tests/core.
"""

from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from core.runtime import digest
from tests.answering import Answering


class FakeRegistry:
    """One registered model. `up = False` answers like a broken proxy; `close` refuses connections."""

    def __init__(self, model: str) -> None:
        self.model, self.up = model, True
        self.aliases: dict[str, str] = {}
        self.percent, self.shadow = 0.0, False
        self.bundles: dict[str, Path] = {}
        self.digests: dict[str, str] = {}
        self._server = Answering(self.answer)
        self.url, self.close = self._server.url, self._server.close

    def register(self, version: str, folder: Path) -> None:
        self.bundles[version], self.digests[version] = folder, digest(folder)

    def release(
        self, champion: str | None, challenger: str | None = None, percent: float = 0.0, shadow: bool = False
    ) -> None:
        named = {"champion": champion, "challenger": challenger}
        self.aliases, self.percent, self.shadow = {k: v for k, v in named.items() if v}, percent, shadow

    def answer(self, _method: str, url: str, _headers: Message, _body: bytes) -> tuple[int, Any]:
        path, query = urlparse(url).path, {name: values[0] for name, values in parse_qs(urlparse(url).query).items()}
        if not self.up:
            return 404, b"<html>no such page</html>"
        if path.startswith("/api/2.0/mlflow-artifacts/artifacts/"):
            _, version, _, name = path.rsplit("/", 3)
            return 200, (self.bundles[version] / name).read_bytes()
        found = self._found(path.removeprefix("/api/2.0/mlflow/"), query)
        return (200, found) if found else (404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})

    def _found(self, what: str, query: dict[str, str]) -> dict[str, object]:
        if what == "runs/get":
            return {"run": {"info": {"artifact_uri": f"mlflow-artifacts:/1/{query['run_id']}"}}}
        if what == "model-versions/get" and query["version"] in self.bundles:
            version = query["version"]
            tags = {"digest": self.digests[version]} if version in self.digests else {}
            return {"model_version": {"run_id": version, "version": version, "tags": _pairs(tags)}}
        if what == "registered-models/get" and query["name"] == self.model and self.bundles:
            aliases = [{"alias": alias, "version": version} for alias, version in self.aliases.items()]
            tags = {"canary_percent": str(self.percent), "shadow": str(self.shadow).lower()}
            return {"registered_model": {"aliases": aliases, "tags": _pairs(tags)}}
        return {}


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]
