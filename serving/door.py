"""The thin ASGI door of POST /predict: it answers before FastAPI's routing, which costs more than the answer itself.

Whatever else is asked passes it by. FastAPI keeps the same route, for the documentation and for a query.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.replies import JSON, Refused, refusal
from serving.server import Server

PATH = "/predict"


class Door:
    """Behind BodyLimit: it trusts the size of the body."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self.app, self._server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST" or scope["query_string"]:
            await self.app(scope, receive, send)
            return
        try:
            answer = await self._server.predict_one(await _body(receive))
        except Refused as error:
            await refusal(error)(scope, receive, send)
            return
        body = JSON.encode(answer)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    message: Message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body
