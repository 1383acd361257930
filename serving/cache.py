"""Loaded models and their files on disk. What was served last can be served again while the registry is down.

Says whether a version may be served; when to load which is the follower's business.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from core.errors import ModelRefused
from core.releases import Reader, Release
from core.runtime import OnnxModel, digest
from core.schema import ProblemSpec
from serving.state import ServedModel, State

RELEASE = "release.json"
KEPT = 5  # versions on disk beside those that are served: a roll-back finds its files here


class ModelCache:
    """A folder: VERSION/ for each version's files, and release.json for what was served last."""

    def __init__(self, folder: Path, spec: ProblemSpec, reader: Reader) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._spec, self._reader = folder, spec, reader
        self._digests: dict[str, str] = {}  # of what was loaded, whatever happens to the files afterwards

    def load(self, version: str) -> ServedModel:
        """Fetch, verify and test a version. Raises ModelRefused, or RegistryError when it cannot be had."""
        folder = self._reader.fetch(version, self._folder)
        return self._open(version, folder, digest(folder))

    def load_offline(self, version: str, wanted: str) -> ServedModel:
        """Load a version without the registry; `wanted` is the digest noted when it was served."""
        folder = self._folder / version
        if not folder.is_dir() or digest(folder) != wanted:
            raise ModelRefused(f"version {version}: its cached files are gone or changed")
        return self._open(version, folder, wanted)

    def remember(self, state: State) -> None:
        """Note what is served, and drop old versions' files."""
        served = [model.version for model in state.roles.values()]
        digests = {version: self._digests[version] for version in served}
        partial = self._folder / f"{RELEASE}.part"
        partial.write_text(json.dumps({"release": asdict(state.release), "digests": digests}))
        partial.replace(self._folder / RELEASE)
        self._prune(set(served))

    def remembered(self) -> tuple[Release, dict[str, str]] | None:
        """The last release and the digests of its versions; None when nothing was ever served from here."""
        path = self._folder / RELEASE
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        return Release(**found["release"]), found["digests"]

    def _open(self, version: str, folder: Path, verified: str) -> ServedModel:
        try:
            model = OnnxModel.load(folder, self._spec)
        except ModelRefused:
            raise
        except ValidationError as error:  # its text would repeat rows of the training data
            where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            raise ModelRefused(f"version {version} cannot be loaded: no valid {error.title} ({where})") from None
        except Exception as error:
            raise ModelRefused(f"version {version} cannot be loaded: {type(error).__name__}: {error}") from error
        _fits(self._spec, model)
        self._digests[version] = verified
        return ServedModel.of(version, model)

    def _prune(self, served: set[str]) -> None:
        others = [path for path in self._folder.iterdir() if path.is_dir() and path.name not in served]
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(path)


def _fits(spec: ProblemSpec, model: OnnxModel) -> None:
    """A model of another problem or target, or that asks for what this problem does not make, must not be served."""
    contract = model.contract
    if contract.problem != spec.name:
        raise ModelRefused(f"the model is for problem {contract.problem!r}, the server for {spec.name!r}")
    if contract.target != spec.target:
        raise ModelRefused(f"the model predicts {contract.target!r}, the problem's target is {spec.target!r}")
    made = {name: (feature.kind, feature.size) for name, feature in spec.features.items()}
    widths = {tensor.name: tensor.shape[1] for tensor in model.session.get_inputs()}
    wanted = {name: (kind, widths.get(name)) for name, kind in contract.features.items()}
    foreign = sorted(name for name, what in wanted.items() if made.get(name) != what)
    if foreign:
        raise ModelRefused(f"the model wants features that this server does not make: {', '.join(foreign)}")
