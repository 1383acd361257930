"""Where commands print."""

import sys

from rich.console import Console

out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)  # a file or a pipe has no width
complaints = Console(stderr=True, highlight=False)
