"""A DVC remote in the artifact store of MLflow, `mlflow-artifacts:/FOLDER`: tasks need no other storage then.

DVC's own http remote will not do: it cannot list, so it keeps no run cache, by which a retried stage is not run again.
core.lineage makes DVC know this file system; nothing else uses it.
"""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, BinaryIO

from dvc_objects.fs import known_implementations
from dvc_objects.fs.base import FileSystem
from fsspec import AbstractFileSystem

from core.artifacts import SCHEME, Artifacts
from core.config import settings

DVC_SCHEME = "mlflow"  # DVC takes a scheme with a dash for the name of a folder
JOBS = 8  # requests at a time: MLflow has one worker


class ArtifactFiles(AbstractFileSystem):  # type: ignore[misc]
    """What fsspec wants to know of the store. Paths have no leading slash. Folders come and go with their files."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.store = Artifacts(url)

    def ls(self, path: str, detail: bool = True, **__: Any) -> list[Any]:
        folder = path.strip("/")
        found = [_entry(f"{folder}/{name}".lstrip("/"), size) for name, size in self.store.files(folder).items()]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **__: Any) -> dict[str, Any]:
        """From the listing of the folder above: asking for the file itself would send it."""
        folder, _, name = path.strip("/").rpartition("/")
        found = self.store.files(folder)
        if name not in found:
            raise FileNotFoundError(path)
        return _entry(path, found[name])

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """A folder is there as soon as it has a file."""

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        with open(lpath, "rb") as file:
            self.store.put(file, rpath)

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        self.store.fetch(rpath, Path(lpath))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if mode != "rb":
            raise NotImplementedError("files are sent whole: put_file")
        return io.BytesIO(self.store.read(path))


class MlflowRemote(FileSystem):
    """What DVC wants to know of it."""

    protocol: Any = DVC_SCHEME
    CAN_TRAVERSE = False  # it would list everything there is, before it asks for two files
    _JOBS = JOBS

    def __init__(self, **config: Any) -> None:
        super().__init__(fs=ArtifactFiles(settings().mlflow_url), **config)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{DVC_SCHEME}://").strip("/")

    @staticmethod
    def _get_kwargs_from_urls(urlpath: str) -> dict[str, Any]:
        return {}

    def exists(self, path: Any, *_: Any, **__: Any) -> Any:
        """Of one path or of many. The listing of a folder answers for all of its files."""
        if isinstance(path, str):
            return self.fs.exists(path)
        folders = sorted({self.parent(one) for one in path})
        with ThreadPoolExecutor(JOBS) as pool:
            found = dict(zip(folders, pool.map(self.fs.store.files, folders), strict=True))
        return [self.name(one) in found[self.parent(one)] for one in path]

    def upload_fobj(self, fobj: IO[Any], to_info: str, **_: Any) -> None:
        self.fs.store.put(fobj, to_info)


def dvc_url(remote: str) -> str:
    """A remote as DVC may read it; MLflow's artifact store is made known to DVC."""
    if not remote.startswith(SCHEME):
        return remote
    known_implementations[DVC_SCHEME] = {"class": f"{__name__}.{MlflowRemote.__name__}", "err": ""}
    return f"{DVC_SCHEME}:///{remote.removeprefix(SCHEME).strip('/')}"


def _entry(name: str, size: int | None) -> dict[str, Any]:
    return {"name": name, "size": size or 0, "type": "directory" if size is None else "file"}
