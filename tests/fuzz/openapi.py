"""schemathesis: asks all that the OpenAPI document allows, and what it does not, and compares answers with it."""

import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = Path(__file__).with_name("schemathesis.toml")
SHOWN = 6000  # characters of what it has to say


def violations(url: str, seed: int, cases: int, seconds: int) -> str:
    """What schemathesis found on a running server; empty when nothing. `cases` an operation."""
    own = ["--config-file", str(CONFIG), "--no-color", "run", f"{url}/openapi.json"]
    how = ["--seed", str(seed), "--max-examples", str(cases), "--max-time", str(seconds), "--no-shrink"]
    command = [str(Path(sys.executable).with_name("schemathesis")), *own, *how, "--suppress-health-check", "all"]
    with tempfile.TemporaryDirectory() as folder:  # it leaves files where it runs
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return "" if done.returncode == 0 else "\n".join(line[:300] for line in done.stdout.splitlines())[-SHOWN:]
