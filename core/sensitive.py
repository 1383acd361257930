"""Sensitive columns on their way into the prediction log: the same value is always the same hash, and stays unreadable.

HMAC-SHA256 with a secret salt: without the salt nobody can try out all birthdays or post codes, as with a plain hash.
Models get the true values, training reads them from the source: this is about what the server writes down.
"""

import hmac
from datetime import UTC, datetime
from typing import Any

from core.errors import ConfigError
from core.schema import ProblemSpec

SHORTEST = 16  # characters of a salt


class Mask:
    """Hides what one problem calls sensitive; where it calls nothing so, it needs no salt and changes nothing."""

    def __init__(self, spec: ProblemSpec, salt: str) -> None:
        self.columns, self.features = spec.sensitive, spec.unlogged
        self._problem, self._salt = spec.name, salt.encode()
        if self.columns and len(salt) < SHORTEST:
            raise ConfigError(
                f"{spec.name} has sensitive columns ({', '.join(sorted(self.columns))}), and LOOP_SALT has fewer than "
                f"{SHORTEST} characters: set it to a secret, always the same one, or nobody could join the log"
            )

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A request's row as it may be kept."""
        if not self.columns:
            return row
        hidden = self.columns & {name for name, value in row.items() if value is not None}
        return row | {name: self.hidden(name, row[name]) for name in hidden}

    def text(self, column: str, value: str) -> str:
        return self.hidden(column, value) if column in self.columns else value

    def hidden(self, column: str, value: Any) -> str:
        """64 hex digits. Equal values of two columns, or of two problems, have different ones."""
        text = value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
        return hmac.digest(self._salt, f"{self._problem}\x1f{column}\x1f{text}".encode(), "sha256").hex()
