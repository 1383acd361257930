"""Is a server well? One question over HTTP, asked while starting and by `loop status`."""

import json
import urllib.request
from datetime import datetime

from core.config import Frozen

TIMEOUT_S = 5


class Probe(Frozen):
    """What to ask. `component` names a part of Airflow's health document that has no address of its own."""

    url: str
    component: str | None = None

    def trouble(self, since: float) -> str | None:
        """What is wrong, or None if healthy. A component's heartbeat before `since` (epoch seconds) is an old one."""
        try:
            answer = ask(self.url)
        except (OSError, ValueError) as error:  # refused, timed out, an error status, no JSON
            return f"no good answer at {self.url} ({error})"
        return stale(self.component, answer.get(self.component) or {}, since) if self.component else None


def ask(url: str) -> dict[str, dict[str, str | None]]:
    """The answer's JSON document, or {} where it is plain text. Never through a proxy: it is this machine."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=TIMEOUT_S) as answer:
        body = answer.read()
        return dict(json.loads(body)) if "json" in answer.headers.get("content-type", "") else {}


def stale(component: str, health: dict[str, str | None], since: float) -> str | None:
    beat = health.get(f"latest_{component}_heartbeat")
    if health.get("status") == "healthy" and beat and datetime.fromisoformat(beat).timestamp() >= since:
        return None
    return f"Airflow has no fresh heartbeat of its {component} (last: {beat})"
