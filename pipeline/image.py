"""Bake one registered version into an image that serves it and nothing else: `loop image build`, `loop image push`.

The model is a layer on the serving image. It gets its name only after it has answered, read-only and without a network.
"""

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import DeployError, ModelRefused
from core.pinned import ABOUT, About
from core.releases import DIGEST_TAG, ReleaseReader
from core.runtime import SERVING_FILES
from pipeline import engine as docker
from pipeline.engine import Engine

if TYPE_CHECKING:
    from docker.models.containers import Container

BASE = "closed-loop/serving:local"  # `docker compose build serving` makes it
MODEL = "/model"
LABEL = "closed-loop."
SMOKE_S = 30.0
HERE = "http://127.0.0.1:8000"
ALONE = ("python", "-m", "serving", "--host", "127.0.0.1", "--port", "8000")  # open to itself only: it needs no key
SELF_TEST = f"""
from pathlib import Path
import problems
from core.runtime import OnnxModel
OnnxModel.load(Path({MODEL!r}), problems.load().spec)
"""
RECIPE = """\
FROM {base}
COPY model {model}
ENV LOOP_MODEL={model} LOOP_PROBLEM={problem}
"""


@dataclass(frozen=True)
class Baker:
    """Makes images of one problem's versions, named REPOSITORY:VERSION."""

    engine: Engine
    reader: ReleaseReader
    repository: str
    base: str = BASE

    def name(self, version: str) -> str:
        return f"{self.repository}:{version}"

    def build(self, version: str) -> str:
        """Build, try, name. Returns the name. Raises DeployError with the server's last words where it does not answer.

        An image is never changed: where the name is there with the same digest, it stands.
        """
        if self.engine.image(self.base) is None:
            raise DeployError(f"there is no image {self.base}; make it with `docker compose build serving`")
        tags = self.reader.tags(version)
        if not tags:
            raise ModelRefused(f"the registry has no version {version} of {self.reader.model}; see `loop history`")
        if self._is_there(version, tags[DIGEST_TAG]):
            return self.name(version)
        with tempfile.TemporaryDirectory() as folder:
            image = self.engine.build(self._context(Path(folder), version, tags[DIGEST_TAG]), labels(version, tags))
        assert image.id
        try:
            smoke(self.engine, image.id, version)
        except DeployError:
            self.engine.remove_image(image.id)
            raise
        self.engine.tag(image, self.repository, version)
        return self.name(version)

    def push(self, version: str) -> str:
        """Push an image that was built; return its digest in the registry."""
        if self.engine.image(self.name(version)) is None:
            raise DeployError(f"there is no image {self.name(version)}; make it with `loop image build {version}`")
        return self.engine.push(self.repository, version)

    def _is_there(self, version: str, digest: str) -> bool:
        image = self.engine.image(self.name(version))
        if image is None:
            return False
        if image.labels.get(f"{LABEL}digest") != digest:
            raise DeployError(f"{self.name(version)} is there and holds another model; remove it, or choose LOOP_IMAGE")
        return True

    def _context(self, folder: Path, version: str, digest: str) -> Path:
        """What the engine is sent: the version's files, verified, and the recipe."""
        fetched = self.reader.fetch(version, folder / "fetched")
        (folder / "build" / "model").mkdir(parents=True)
        for name in SERVING_FILES:
            shutil.copyfile(fetched / name, folder / "build" / "model" / name)
        (folder / "build" / "model" / ABOUT).write_text(About(version=version, digest=digest).model_dump_json())
        recipe = RECIPE.format(base=self.base, model=MODEL, problem=self.reader.model)
        (folder / "build" / "Dockerfile").write_text(recipe)
        return folder / "build"


def labels(version: str, tags: dict[str, str]) -> dict[str, str]:
    """What the image says of itself."""
    about = {"model-version": version, "data-version": tags.get("data_version", ""), "digest": tags[DIGEST_TAG]}
    revision = tags.get("revision", "")
    return {f"{LABEL}{name}": value for name, value in about.items()} | {"org.opencontainers.image.revision": revision}


def smoke(engine: Engine, image: str, version: str) -> None:
    """Start it read-only without a network; it must repeat its stored example and become ready with this version."""
    places = {"/tmp": "", "/data": f"uid={docker.USER_ID},gid={docker.USER_ID}"}
    container = engine.create(image, ALONE, network_mode="none", tmpfs=places)
    try:
        docker.start(container)
        repeat_example(container, version)  # first: a server whose model is bad would only be waited for
        wait_ready(container, version)
    finally:
        docker.remove(container)


def repeat_example(container: "Container", version: str) -> None:
    try:
        docker.said(container, "python", "-c", SELF_TEST)
    except DeployError as error:
        raise DeployError(f"the model of version {version} does not repeat its stored example:\n{error}") from error


def wait_ready(container: "Container", version: str, timeout_s: float = SMOKE_S) -> None:
    """Wait until the server inside answers with this version. Raises DeployError with its last words."""
    deadline = time.monotonic() + timeout_s
    while not docker.ask(container, "healthy", f"{HERE}/readyz"):
        if docker.has_ended(container) or time.monotonic() > deadline:
            raise DeployError(f"the server of version {version} does not become ready:\n{docker.last_words(container)}")
        time.sleep(0.2)
