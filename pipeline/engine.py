"""The Docker engine of this machine: the only import of its SDK. It knows no model and no release.

Every container runs with a read-only root, no capabilities and no way to more rights. Errors become DeployError.
"""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import DeployError

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.images import Image

USER_ID = 10001  # of our images
SAFE = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "init": True,
    "pids_limit": 256,
    "mem_limit": "512m",
}
TAIL_LINES = 15


class Engine:
    """What the loop asks of Docker. Raises DeployError where no engine answers, or it refuses."""

    def __init__(self) -> None:
        import docker

        with _translated():
            self._client = docker.from_env(timeout=300)
            self._client.ping()

    def build(self, folder: Path, labels: Mapping[str, str]) -> "Image":
        """An image without a name, from a folder with a Dockerfile."""
        with _translated():
            image, _ = self._client.images.build(path=str(folder), labels=dict(labels), rm=True, forcerm=True)
            return image

    def image(self, name: str) -> "Image | None":
        import docker

        try:
            with _translated():
                return self._client.images.get(name)
        except DeployError as error:
            if isinstance(error.__cause__, docker.errors.ImageNotFound):
                return None
            raise

    def tag(self, image: "Image", repository: str, tag: str) -> None:
        with _translated():
            image.tag(repository, tag)

    def remove_image(self, name: str) -> None:
        with _translated():
            self._client.images.remove(name, force=True)

    def push(self, repository: str, tag: str) -> str:
        """Push; return the digest under which the registry has it. The login is that of `docker login`."""
        found = ""
        with _translated():
            for line in self._client.images.push(repository, tag, stream=True, decode=True):
                if "error" in line:
                    raise DeployError(f"{repository}:{tag} cannot be pushed: {line['error']}")
                found = line.get("aux", {}).get("Digest", found)
        return found

    def create(self, image: str, command: Sequence[str] | None = None, **options: Any) -> "Container":
        """A container that is not started yet."""
        with _translated():
            return self._client.containers.create(image, command, **(SAFE | options))

    def find(self, name: str) -> "Container | None":
        with _translated():
            found = self._client.containers.list(all=True, filters={"name": f"^/{name}$"})
        return found[0] if found else None

    def services(self, project: str) -> "dict[str, Container]":
        """The containers of a compose project, by service, but for steps that have ended well."""
        with _translated():
            found = self._client.containers.list(all=True, filters={"label": f"com.docker.compose.project={project}"})
        lasting = [one for one in found if one.status == "running" or one.attrs["State"]["ExitCode"]]
        return {one.labels["com.docker.compose.service"]: one for one in lasting}


def volume(folder: str, name: str | None = None) -> Any:
    """A volume for the option `mounts`; one without a name goes with its container."""
    from docker.types import Mount

    return Mount(folder, name, type="volume")


def ask(container: "Container", *command: str) -> bool:
    """Whether a command inside ends well. False also where the container has ended."""
    try:
        with _translated():
            return bool(container.exec_run(list(command)).exit_code == 0)
    except DeployError:
        return False


def said(container: "Container", *command: str) -> str:
    """What a command inside printed. Raises DeployError with its last words where it fails."""
    with _translated():
        done = container.exec_run(list(command))
    if done.exit_code:
        raise DeployError(_ending(done.output))
    return str(done.output.decode(errors="replace")).strip()


def put(container: "Container", folder: str, name: str, content: bytes) -> None:
    """Write a file that only our user can read into a volume of the container."""
    about = tarfile.TarInfo(name)
    about.size, about.mode, about.uid, about.gid = len(content), 0o600, USER_ID, USER_ID
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(about, io.BytesIO(content))
    with _translated():
        container.put_archive(folder, packed.getvalue())


def has_ended(container: "Container") -> bool:
    with _translated():
        container.reload()
        return container.status in ("exited", "dead", "restarting")


def health(container: "Container") -> str:
    """In one word: healthy, unhealthy, starting, or of a container without a check running, exited and the like."""
    checked = container.attrs["State"].get("Health")
    return str(checked["Status"] if checked and container.status == "running" else container.status)


def address(container: "Container") -> str:
    """Where it answers on this machine; empty when nowhere."""
    bound = [bindings[0] for bindings in container.ports.values() if bindings]
    return f"http://{bound[0]['HostIp']}:{bound[0]['HostPort']}" if bound else ""


def last_words(container: "Container") -> str:
    with _translated():
        return _ending(container.logs(tail=TAIL_LINES))


def start(container: "Container") -> None:
    with _translated():
        container.start()


def stop(container: "Container", grace_s: int = 30) -> None:
    with _translated():
        container.stop(timeout=grace_s)


def rename(container: "Container", name: str) -> None:
    with _translated():
        container.rename(name)


def remove(container: "Container") -> None:
    """With the volumes that have no name."""
    with _translated():
        container.remove(force=True, v=True)


def _ending(log: bytes) -> str:
    lines = log.decode(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(f"    {line}" for line in lines) or "    (no log)"


@contextmanager
def _translated() -> Iterator[None]:
    import requests

    import docker

    try:
        yield
    except docker.errors.BuildError as error:
        raise DeployError(f"the image cannot be built: {error.msg}") from error
    except docker.errors.APIError as error:
        raise DeployError(f"Docker refuses: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise DeployError(f"no Docker engine answers ({error}); `loop doctor` looks into it") from error
