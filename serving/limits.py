"""A pure ASGI limit on the size of request bodies, with or without a Content-Length. Knows nothing of their content."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.replies import Errors, FieldError, json_reply

MAX_BODY = 8 * 1024 * 1024  # bytes: ten thousand rows of some 800 bytes


class BodyLimit:
    """Reads a body before the application does; one that is too large gets 413 and the connection is closed."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = None if _announced(scope) > self.limit else await self._read(receive)
        if body is None:
            await self._refuse(scope, receive, send)
        elif body[-1]["type"] == "http.request":  # else the caller has hung up
            await self.app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> list[Message] | None:
        """The messages of the body, or None when it grows over the limit."""
        messages, size = [await receive()], 0
        while messages[-1]["type"] == "http.request":
            size += len(messages[-1].get("body", b""))
            if size > self.limit:
                return None
            if not messages[-1].get("more_body"):
                break
            messages.append(await receive())
        return messages

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"larger than {self.limit} bytes; send smaller batches"
        content = Errors(errors=[FieldError(field="body", message=message)])
        await json_reply(content.model_dump(), 413, {"connection": "close"})(scope, receive, send)


def _announced(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _replay(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def replayed() -> Message:
        return next(waiting, None) or await receive()

    return replayed
