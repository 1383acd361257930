"""The local target: one server process that follows the registry by itself. Applying a release is seeing it served."""

import time
from typing import Any

import httpx

from core.errors import DeployError
from core.releases import Release
from pipeline.client import client


class LocalTarget:
    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def apply(self, release: Release) -> None:
        """Wait until the server has this champion, canary and shadow. Applying it again returns at once."""
        deadline, release = time.monotonic() + self._timeout_s, release.loaded
        while (served := self.status()) != release:
            if time.monotonic() > deadline:
                raise DeployError(
                    f"{self._url} serves {served} and not {release} after {self._timeout_s:.0f} s; "
                    f"{self._url}/release says why a version was refused"
                )
            time.sleep(0.25)

    def status(self) -> Release | None:
        """What the server answers with now; None when it does not answer. Raises DeployError where it refuses us."""
        try:
            with client(self._url, timeout_s=5.0) as http:
                answer = http.get("/release")
            if answer.status_code in (401, 403):
                said = answer.text[:200]
                raise DeployError(f"{self._url} refuses us: {said}; LOOP_SERVING_KEY must be a key that may operate")
            found: dict[str, Any] = answer.raise_for_status().json()
        except httpx.HTTPError:
            return None
        tried = found["canary"] or found["shadow"]
        return Release(found["champion"], tried, found["percent"], found["shadow"] is not None)
