"""Is a server well? One question over HTTP, asked while starting and by `loop status`."""

from datetime import datetime

import httpx

from core.config import Frozen


class Probe(Frozen):
    """What to ask. `component` names a part of Airflow's health document that has no address of its own."""

    url: str
    component: str | None = None

    def trouble(self, since: float) -> str | None:
        """What is wrong, or None if healthy. A component's heartbeat before `since` (epoch seconds) is an old one."""
        try:
            answer = httpx.get(self.url, timeout=5, trust_env=False, verify=False)  # plain HTTP on loopback
        except httpx.TransportError as error:
            return f"no answer at {self.url} ({error})"
        if answer.status_code != 200:
            return f"{self.url} answered {answer.status_code}"
        if self.component is None:
            return None
        return stale(self.component, answer.json().get(self.component) or {}, since)


def stale(component: str, health: dict[str, str | None], since: float) -> str | None:
    beat = health.get(f"latest_{component}_heartbeat")
    if health.get("status") == "healthy" and beat and datetime.fromisoformat(beat).timestamp() >= since:
        return None
    return f"Airflow has no fresh heartbeat of its {component} (last: {beat})"
