"""An image registry on 127.0.0.1, real and empty: Debian's docker-registry where it is installed, else registry:2."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from pipeline.stack.ports import any_free

BINARY, IMAGE = "docker-registry", "registry:2"
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address, HOST:PORT. What is pushed lies in `folder`, or goes with the container."""
    port = any_free()
    process = subprocess.Popen(command(folder, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(f"http://127.0.0.1:{port}/v2/", process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def command(folder: Path, port: int) -> list[str]:
    if shutil.which(BINARY) is None:
        return ["docker", "run", "--rm", "--publish", f"127.0.0.1:{port}:5000", IMAGE]
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    return [BINARY, "serve", str(folder / "config.yml")]


def wait(url: str, process: "subprocess.Popen[bytes]", patience_s: float = 120) -> None:
    deadline = time.monotonic() + patience_s
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"no registry answers at {url}; its process: {process.poll()}")
