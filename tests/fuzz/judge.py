"""What every answer must be, whatever was asked: no 5xx but a deliberate 503, errors in one form, memory bounded."""

import http.client
import json
from dataclasses import dataclass, field

from tests.drills.ground import Ground
from tests.drills.pressure import Watched

CEILING_MB = 700.0
SLOWEST_S = 20.0


@dataclass
class Judge:
    """Asks one server, and collects what is wrong."""

    ground: Ground
    port: int
    asked: int = 0
    wrong: list[str] = field(default_factory=list)

    def post(self, about: str, path: str, body: bytes, content_type: str = "application/json") -> int:
        """The status; 0 when there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SLOWEST_S)
        try:
            connection.request("POST", path, body, {"Content-Type": content_type})
            response = connection.getresponse()
            self.check(f"{about} to {path}", response.status, response.getheader("Retry-After"), response.read())
            return response.status
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(f"{about} to {path}: {type(error).__name__} {error}")
            return 0
        finally:
            connection.close()

    def check(self, about: str, status: int, retry_after: str | None, body: bytes) -> None:
        self.asked += 1
        if status >= 500 and not (status == 503 and retry_after):
            self.wrong.append(f"{about}: {status} {body[:200]!r}")
        elif status >= 400 and not _is_errors(body):
            self.wrong.append(f"{about}: {status} is not explained: {body[:200]!r}")

    def is_alive(self, about: str) -> None:
        """Asked on a connection of its own; it must answer at once."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
        except (OSError, AssertionError, http.client.HTTPException) as error:
            self.wrong.append(f"after {about} it does not answer: {type(error).__name__}")
        finally:
            connection.close()

    def closing(self, watched: Watched) -> None:
        """The last look."""
        if watched.most_mb > CEILING_MB:
            self.wrong.append(f"{watched.most_mb:.0f} MB are over the ceiling of {CEILING_MB:g}")
        for word in ("Traceback", "ERROR"):
            if word in self.ground.log:
                at = self.ground.log.index(word)
                self.wrong.append(f"in the server's log: {self.ground.log[max(0, at - 100) : at + 1000]}")


def _is_errors(body: bytes) -> bool:
    try:
        errors = json.loads(body)["errors"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(errors) and all(set(error) == {"field", "message", "got"} for error in errors)
