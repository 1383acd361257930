"""Where commands print."""

from rich.console import Console

out = Console(highlight=False)
complaints = Console(stderr=True, highlight=False)
