"""Files in MLflow's artifact store, over its documented REST API: where tasks that share no file system leave things.

A place is written as MLflow writes it, `mlflow-artifacts:/FOLDER`; the server is that of LOOP_MLFLOW_URL. This needs
no MLflow client, which costs seconds to import. The files of a registered version are core.releases'.
"""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import httpx

from core.errors import RegistryUnavailable

SCHEME = "mlflow-artifacts:/"
ROUTE = "/api/2.0/mlflow-artifacts/artifacts"
TIMEOUT = httpx.Timeout(60.0, read=600.0)  # seconds; an upload is answered when the store has all of it
CHUNK = 2**20  # bytes


class Artifacts:
    """One server's store. Thread-safe. A file appears whole or not at all.

    Calls raise RegistryUnavailable where MLflow does not answer, FileNotFoundError where it has no such file.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT)

    def files(self, folder: str) -> dict[str, int | None]:
        """What is in a folder: sizes in bytes by name, None for a folder. Nothing where there is no such folder."""
        content = self._answer(lambda: self._http.get(ROUTE, params={"path": folder})).json()
        return {f["path"]: None if f.get("is_dir") else int(f.get("file_size", 0)) for f in content.get("files", [])}

    def put(self, file: BinaryIO, path: str) -> None:
        """Send a file, piece by piece. One that is there is replaced."""
        chunks = iter(lambda: file.read(CHUNK), b"")
        self._answer(lambda: self._http.put(_route(path), content=chunks))

    def read(self, path: str) -> bytes:
        return self._answer(lambda: self._http.get(_route(path))).content

    def fetch(self, path: str, target: Path) -> None:
        """Bring a file, piece by piece."""
        self._answer(lambda: self._stream(path, target))

    def _stream(self, path: str, target: Path) -> httpx.Response:
        with self._http.stream("GET", _route(path)) as answer:
            if answer.is_error:
                answer.read()
                return answer
            with target.open("wb") as file:
                for chunk in answer.iter_bytes(CHUNK):
                    file.write(chunk)
        return answer

    def _answer(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            answer = ask()
        except httpx.TransportError as error:
            raise RegistryUnavailable(f"MLflow does not answer at {self._http.base_url}: {error}") from error
        if answer.status_code == 404:
            raise FileNotFoundError(answer.request.url.path.removeprefix(ROUTE))
        if answer.is_error:
            raise RegistryUnavailable(
                f"MLflow answered {answer.status_code} to {answer.request.url}: {answer.text[:200]}"
            )
        return answer


def _route(path: str) -> str:
    return f"{ROUTE}/{quote(path)}"
