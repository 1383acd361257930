"""What every deploy target can do. A roll-back needs no verb of its own: it is applying the release before."""

from typing import Protocol

from core.releases import Release


class Target(Protocol):
    """Somewhere that serves one problem's models. tests/pipeline/target.py holds what all of them promise."""

    def apply(self, release: Release) -> None:
        """Serve this release, and return when it is seen to answer. Applying it again changes nothing.

        Raises DeployError where it cannot be served; then what was served before is served still.
        """

    def status(self) -> Release | None:
        """What answers now; None where nothing does."""
