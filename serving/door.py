"""The thin ASGI door of POST /predict: it answers before FastAPI's routing, which costs more than the answer itself.

Whatever else is asked passes it by, and so does a row that is large, or comes in pieces. FastAPI keeps the same route,
for these, for the documentation and for a query.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.limits import replay
from serving.replies import JSON, Refused, refusal
from serving.server import Server
from serving.traffic import SMALL

PATH = "/predict"


class Door:
    """Before BodyLimit: it takes no body that needs a limit."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self.app, self._server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST" or scope["query_string"]:
            await self.app(scope, receive, send)
            return
        first = await receive()
        sent = first.get("body", b"")
        if first["type"] != "http.request" or first.get("more_body") or len(sent) > SMALL:
            await self.app(scope, replay([first], receive), send)
            return
        try:
            answer = await self._server.predict_one(sent)
        except Refused as error:
            await refusal(error)(scope, receive, send)
            return
        body = JSON.encode(answer)
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
