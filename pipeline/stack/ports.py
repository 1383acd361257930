"""Ports on the loopback address: the configured one, else the usual one, else a free one."""

import socket

from core.config import PREFIX
from core.errors import StackError

HOST = "127.0.0.1"


def choose(service: str, configured: int | None, usual: int) -> int:
    """A port to start `service` on. Raises StackError where the configured one is taken: that was asked for."""
    if configured is None:
        return usual if is_free(usual) else any_free()
    if not is_free(configured):
        variable = f"{PREFIX}{service.upper()}_PORT"
        raise StackError(f"port {configured} ({variable}) is taken; stop what listens there, or choose another port")
    return configured


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed connection's wait does not count
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def any_free() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
