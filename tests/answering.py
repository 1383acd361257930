"""An HTTP server on loopback that gives the answers of a test's own function. It knows no protocol above HTTP."""

import json
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, str, Message, bytes], tuple[int, Any]]


class Answering:
    """`answer(method, path with its query, headers, body)` gives the status, and bytes or what becomes JSON.

    A connection is for one request, so that nobody is answered after `close`.
    """

    def __init__(self, answer: Answer, ip: str = "127.0.0.1", port: int = 0) -> None:
        self._server = ThreadingHTTPServer((ip, port), _handler(answer))
        self.url = f"http://{ip}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, content = answer(self.command, self.path, self.headers, body)
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_PATCH = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler
