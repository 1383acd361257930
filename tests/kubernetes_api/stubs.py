"""What pods run where no model server is needed: something that answers /readyz and /release as one does."""

from collections.abc import Mapping
from email.message import Message
from typing import Any

from tests.answering import Answering
from tests.kubernetes_api.kubelet import OUT_OF_MEMORY, Crash, NoImage, NoNode, Process

Json = dict[str, Any]


class Stub:
    """A server of one version. `ready` and what it says may be changed while it runs."""

    def __init__(self, ip: str, port: int, version: str | None, role: str, percent: float) -> None:
        self.refuses = False  # who sends no key
        self.ready, self.reason = version is not None, None if version else "the registry has no champion"
        alone = {"champion": version, "canary": None, "percent": 0.0}
        tried = {"champion": "1", "canary": version, "percent": percent}
        self.release: Json = {**(tried if role == "canary" else alone), "shadow": None, "refused": {}}
        self.headers: list[dict[str, str]] = []
        self.stop = Answering(self._answer, ip, port).close

    def _answer(self, _method: str, path: str, headers: Message, _body: bytes) -> tuple[int, Json]:
        self.headers.append({name.lower(): value for name, value in headers.items()})
        if self.refuses and path == "/release":
            return 401, {"detail": "send an API key"}
        if path == "/readyz":
            return 200 if self.ready else 503, {"ready": self.ready, "reason": self.reason}
        return 200, self.release


class Stubs:
    """Starts them, as the versions' fates are. `says` is added to what the servers of a version say."""

    def __init__(self) -> None:
        self.fates: dict[str, Exception] = {}
        self.refused: dict[str, str] = {}
        self.sick: dict[str, str] = {}
        self.says: dict[str, Json] = {}
        self.started: list[Stub] = []

    def __call__(self, environment: Mapping[str, str], ip: str, port: int) -> Process:
        version = environment.get("LOOP_VERSION")
        if fate := self.fates.get(version or ""):
            raise fate
        role, percent = environment.get("LOOP_ROLE", "champion"), float(environment.get("LOOP_CANARY_PERCENT", 100))
        stub = Stub(ip, port, version, role, percent)
        if reason := self.refused.get(version or "") or self.sick.get(version or ""):
            stub.ready, stub.reason = False, f"version {version} is refused: {reason}"
        if version in self.refused:
            stub.release["refused"] = {version: self.refused[version]}
        stub.release |= self.says.get(version or "", {})
        self.started.append(stub)
        return stub


FATES = {
    "image": NoImage('Back-off pulling image "closed-loop/serving:1"'),
    "crash": Crash(3),
    "memory": OUT_OF_MEMORY,
    "node": NoNode(),
}
