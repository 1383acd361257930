"""A server that serves one registered version, whatever the registry calls the champion. It decides nothing.

A deploy target that changes servers one by one says with it which server has which version (LOOP_VERSION, LOOP_ROLE).
What is in shadow is still the registry's to say; which share a canary gets is the target's, who knows how many servers
have it (LOOP_CANARY_PERCENT).
"""

from dataclasses import dataclass

from core.config import Settings
from core.errors import ConfigError
from core.predictions import CANARY, CHAMPION
from core.releases import Release
from serving.state import ServedModel


@dataclass(frozen=True)
class Pin:
    """`version` is answered with in this role; None follows the registry."""

    version: str | None = None
    role: str = CHAMPION
    percent: float = 100.0  # of the entities, for a canary

    @classmethod
    def set_by(cls, settings: Settings) -> "Pin":
        """Raises ConfigError for settings that contradict each other."""
        if settings.version and settings.model:
            raise ConfigError("LOOP_MODEL and LOOP_VERSION both say which version to serve; set one of them")
        if settings.role == CANARY and not settings.version:
            raise ConfigError("LOOP_ROLE=canary needs LOOP_VERSION, the version that is tried")
        return cls(settings.version or None, settings.role, settings.canary_percent)

    def of(self, found: Release) -> Release:
        """What this server makes of what the registry says.

        A canary's server holds the champion, too, which answers the others and where the canary fails; once the version
        is the champion there is no canary any more.
        """
        if self.version is None:
            return found
        if self.role == CANARY and found.champion != self.version:
            return Release(found.champion, self.version, self.percent)
        shadow = found.in_shadow if found.in_shadow != self.version and self.role == CHAMPION else None
        return Release(self.version, shadow, shadow=shadow is not None)

    def met(self, *answering: ServedModel | None) -> bool:
        """Whether the version is among those that answer."""
        return self.version is None or any(model and model.version == self.version for model in answering)
