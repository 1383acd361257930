"""The Docker target: one container, from the image of the champion, published on one port of this machine.

An image serves one version, so there is no canary and no shadow. A new version is first tried beside the old one; then
they change places, in a second or two in which the port is closed. If the new one does not answer there, the old one
comes back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.errors import DeployError
from core.releases import Release
from pipeline import engine as docker
from pipeline.deploy.local import LocalTarget
from pipeline.engine import Engine
from pipeline.image import smoke, wait_ready

if TYPE_CHECKING:
    from docker.models.containers import Container

PORT = "8000/tcp"
SECRETS, KEYS = "/secrets", "keys.json"


@dataclass(frozen=True)
class DockerTarget:
    """Runs `image(version)` as the container `name`. `keys` is the content of the key file that the server gets."""

    engine: Engine
    name: str
    image: Callable[[str], str]
    port: int
    keys: bytes
    environment: Mapping[str, str] = field(default_factory=dict)

    def apply(self, release: Release) -> None:
        version, image = release.champion, self.image(release.champion or "")
        if version is None or release.loaded.tried:
            raise DeployError(f"an image serves one version and nothing beside it; asked for was {release}")
        if self.status() == release.loaded:
            return
        if self.engine.image(image) is None:
            raise DeployError(f"there is no image {image}; make it with `loop image build {version}`")
        smoke(self.engine, image, version)
        self._change_places(image, version)

    def status(self) -> Release | None:
        return LocalTarget(self.url).status()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _change_places(self, image: str, version: str) -> None:
        old, before = self.engine.find(self.name), f"{self.name}-before"
        if left := self.engine.find(before):
            docker.remove(left)
        if old:
            docker.stop(old)
            docker.rename(old, before)
        try:
            self._start(image, version)
        except DeployError:
            self._bring_back(old)
            raise
        if old:
            docker.remove(old)

    def _start(self, image: str, version: str) -> None:
        data = docker.volume("/data", f"{self.name}-data")  # what is not shipped yet stays there
        new = self.engine.create(
            image,
            name=self.name,
            ports={PORT: ("127.0.0.1", self.port)},
            mounts=[data, docker.volume(SECRETS)],
            tmpfs={"/tmp": ""},
            environment={**self.environment, "LOOP_KEYS": f"{SECRETS}/{KEYS}"},
            restart_policy={"Name": "unless-stopped"},
        )
        docker.put(new, SECRETS, KEYS, self.keys)
        docker.start(new)
        wait_ready(new, version)

    def _bring_back(self, old: "Container | None") -> None:
        if failed := self.engine.find(self.name):
            docker.remove(failed)
        if old:
            docker.rename(old, self.name)
            docker.start(old)
            wait_ready(old, "before")
