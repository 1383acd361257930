"""What is released, and fetching it: the reading side of the registry, over MLflow's documented REST API.

The server follows the registry with this and needs no MLflow client, which costs seconds and 100 MB to import.
Writing (registration, promotion, the audit trail) is core.registry's.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from core.artifacts import ROUTE
from core.errors import ModelRefused, RegistryError, RegistryUnavailable
from core.runtime import SERVING_FILES, digest

CHAMPION, CHALLENGER = "champion", "challenger"
PERCENT_TAG, SHADOW_TAG = "canary_percent", "shadow"
DIGEST_TAG = "digest"
BUNDLE = "bundle"
LARGEST = 2**30  # bytes of one file


@dataclass(frozen=True)
class Release:
    """Versions as the registry names them. While percent > 0 the challenger answers that share of the entities; before
    that, in shadow, it is scored on what the champion answers."""

    champion: str | None
    challenger: str | None
    percent: float = 0.0
    shadow: bool = False

    @property
    def canary(self) -> str | None:
        return self.challenger if self.percent > 0 else None

    @property
    def in_shadow(self) -> str | None:
        return self.challenger if self.shadow and not self.canary else None

    @property
    def tried(self) -> str | None:
        """The challenger, once traffic reaches it."""
        return self.canary or self.in_shadow

    @property
    def loaded(self) -> "Release":
        """What a server makes of it: a challenger that only waits for its verdict is not there."""
        return Release(self.champion, self.tried, self.percent, self.in_shadow is not None)


class Reader(Protocol):
    """What a server follows: a registry (ReleaseReader), or one version for ever (core.pinned)."""

    def release(self) -> Release: ...

    def fetch(self, version: str, folder: Path, names: tuple[str, ...] = SERVING_FILES) -> Path: ...


class ReleaseReader:
    """Reads one registered model. Thread-safe; every call may raise RegistryUnavailable."""

    def __init__(self, url: str, model: str, timeout_s: float = 5.0) -> None:
        self.model = model
        self._http = httpx.Client(base_url=url, timeout=timeout_s)

    def release(self) -> Release:
        """The aliases and what the challenger does, read in one call, so that they belong together."""
        found = self._get("registered-models/get", name=self.model).get("registered_model", {})
        aliases = {item["alias"]: item["version"] for item in found.get("aliases", [])}
        tags = {item["key"]: item["value"] for item in found.get("tags", [])}
        return named(aliases, tags)

    def tags(self, version: str) -> dict[str, str]:
        found = self._version(version)
        return {item["key"]: item["value"] for item in found.get("tags", [])}

    def fetch(self, version: str, folder: Path, names: tuple[str, ...] = SERVING_FILES) -> Path:
        """Bring a version's files into folder/VERSION, verified against the digest recorded at registration.

        Files that are there already are used, unless they were changed. When what the registry gives does not match,
        ModelRefused is raised and nothing stays behind.
        """
        about, target = self._version(_plain(version)), folder / version
        if not about:
            raise ModelRefused(f"version {version}: the registry has no such version of {self.model}")
        wanted = _digest(about) if set(SERVING_FILES) <= set(names) else None
        if all((target / name).exists() for name in names) and (wanted is None or wanted == digest(target)):
            return target
        root = self._artifact_root(about["run_id"])
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._download(f"{root}/{BUNDLE}/{name}", target / name)
        if wanted is not None and wanted != digest(target):
            shutil.rmtree(target)
            raise ModelRefused(f"version {version}: its files do not match the digest recorded at registration")
        return target

    def run_of(self, version: str) -> str:
        """The run that registered a version: its life cycle's."""
        found = self._version(version)
        if not found:
            raise RegistryError(f"the registry has no version {version} of {self.model}")
        return str(found["run_id"])

    def attached(self, version: str, name: str, folder: Path) -> Path:
        """Bring a file that is kept with the version's run into a folder. Raises ModelRefused when there is none."""
        self._download(f"{self._artifact_root(self.run_of(version))}/{name}", folder / name)
        return folder / name

    def _version(self, version: str) -> dict[str, Any]:
        return dict(self._get("model-versions/get", name=self.model, version=version).get("model_version", {}))

    def _artifact_root(self, run_id: str) -> str:
        run = self._get("runs/get", run_id=run_id).get("run")
        if not run:
            raise ModelRefused(f"the registry has no run {run_id[:80]} any more, which made the version")
        uri = run["info"]["artifact_uri"]
        scheme, _, path = uri.partition(":/")
        if scheme != "mlflow-artifacts":
            raise RegistryError(f"artifacts are at {uri}; start MLflow with --artifacts-destination, so it serves them")
        return str(path).lstrip("/")

    def _get(self, what: str, **query: str) -> dict[str, Any]:
        try:
            answer = self._http.get(f"/api/2.0/mlflow/{what}", params=query)
        except httpx.TransportError as error:
            raise RegistryUnavailable(f"MLflow does not answer at {self._http.base_url}: {error}") from error
        content = _object(answer)
        if answer.status_code == 404 and content.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
            return {}
        if answer.is_error or not content:  # also a proxy's page: it must not look like an empty registry
            raise RegistryUnavailable(f"MLflow answered {answer.status_code} to {what}: {answer.text[:200]}")
        return content

    def _download(self, path: str, target: Path) -> None:
        partial = target.with_suffix(target.suffix + ".part")
        try:
            self._stream(path, partial)
        except OSError as error:
            raise ModelRefused(f"{path} cannot be kept: {error.strerror}") from error
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"cannot fetch {path} from MLflow: {error}") from error
        else:
            partial.rename(target)
        finally:
            partial.unlink(missing_ok=True)

    def _stream(self, path: str, target: Path) -> None:
        with (
            self._http.stream("GET", f"{ROUTE}/{path}") as answer,
            target.open("wb") as file,
        ):
            if answer.status_code == 404:
                raise ModelRefused(f"the registry has no file {path}")
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                file.write(chunk)
                if file.tell() > LARGEST:
                    raise ModelRefused(f"{path} has more than {LARGEST} bytes")


def named(aliases: Mapping[str, str], tags: Mapping[str, str]) -> Release:
    """The release that a registered model's aliases and tags stand for."""
    percent, shadow = _percent(tags.get(PERCENT_TAG, "0")), tags.get(SHADOW_TAG) == "true"
    return Release(aliases.get(CHAMPION), aliases.get(CHALLENGER), percent, shadow)


def _plain(version: str) -> str:
    """A version becomes the name of a folder, so it must be no path."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", version):
        raise ModelRefused(f"the registry names a version {version[:80]!r}, which can be none")
    return version


def _digest(about: Mapping[str, Any]) -> str:
    for item in about.get("tags", []):
        if item["key"] == DIGEST_TAG:
            return str(item["value"])
    raise ModelRefused(f"version {about['version']}: no digest was recorded at its registration")


def _object(answer: httpx.Response) -> dict[str, Any]:
    """The body as a JSON object; empty when it is none."""
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _percent(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RegistryError(f"the registry's tag {PERCENT_TAG} is {text!r}; it must be a number") from None
