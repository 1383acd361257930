"""One version in a folder, in the place of the registry: what the image of a single version serves, for ever."""

import shutil
from pathlib import Path

from pydantic import ValidationError

from core.config import Frozen
from core.errors import ConfigError, ModelRefused
from core.releases import Release
from core.runtime import SERVING_FILES, digest

ABOUT = "version.json"


class About(Frozen):
    """Which version lies in the folder, and the digest that was recorded at its registration."""

    version: str
    digest: str


class PinnedReader:
    """Reads as core.releases.ReleaseReader does. Raises ConfigError where the folder holds no version."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._about = About.model_validate_json((folder / ABOUT).read_text())
        except (OSError, ValidationError) as error:
            raise ConfigError(f"LOOP_MODEL={folder} holds no version; `loop image build` makes such folders") from error

    def release(self) -> Release:
        return Release(self._about.version, None)

    def fetch(self, version: str, folder: Path, names: tuple[str, ...] = SERVING_FILES) -> Path:
        """Copy the files into folder/VERSION, verified."""
        if digest(self._folder) != self._about.digest:
            raise ModelRefused(f"version {version}: its files do not match the digest recorded at registration")
        target = folder / version
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(self._folder / name, target / name)
        return target
