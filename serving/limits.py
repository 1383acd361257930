"""A pure ASGI limit on the size of request bodies, with or without a Content-Length. Knows nothing of their content."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.replies import RETRY_AFTER_S, json_reply, one_error
from serving.traffic import SMALL, Held, NoRoom, Traffic

MAX_BODY = 8 * 1024 * 1024  # bytes: ten thousand rows of some 800 bytes


class TooLarge(Exception):
    """A body over the limit."""


class BodyLimit:
    """Reads a body before the application does; one that is too large gets 413, as early as that is known.

    Bodies that are not small share what the traffic may hold; beyond that they get 503. `shed` is told of it.
    """

    def __init__(
        self, app: ASGIApp, traffic: Traffic, shed: Callable[[str], None] = lambda _: None, limit: int = MAX_BODY
    ) -> None:
        self.app, self.limit, self._traffic, self._shed = app, limit, traffic, shed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        first = await receive()
        if not first.get("more_body") and len(first.get("body", b"")) <= SMALL:
            if first["type"] == "http.request":  # else the caller has hung up
                await self.app(scope, replay([first], receive), send)
            return
        try:
            with self._traffic.holding() as held:
                messages = await self._rest(first, _announced(scope), receive, held)
                if messages[-1]["type"] == "http.request":
                    await self.app(scope, replay(messages, receive), send)
        except TooLarge:
            await _refusal(scope, 413, f"larger than {self.limit} bytes; send smaller batches")(scope, receive, send)
        except NoRoom:
            self._shed("bodies")
            await _refusal(scope, 503, "too many large requests at once")(scope, receive, send)

    async def _rest(self, first: Message, announced: int, receive: Receive, held: Held) -> list[Message]:
        """The messages of the body. Raises TooLarge or NoRoom, as early as that is known."""
        messages, size = [first], len(first.get("body", b""))
        while True:
            if max(size, announced) > self.limit:
                raise TooLarge
            held.grow_to(size if size > SMALL else 0)  # not what is announced: that costs a caller nothing
            if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body"):
                return messages
            messages.append(await receive())
            size += len(messages[-1].get("body", b""))


def _refusal(scope: Scope, status: int, message: str) -> ASGIApp:
    """The rest of the body is dropped as it comes, else the caller would not see why; who expects a 100 sends none."""
    content = one_error("body" if status == 413 else "server", message)
    headers = {"retry-after": str(RETRY_AFTER_S)} if status == 503 else {}
    if b"expect" in dict(scope["headers"]):
        headers["connection"] = "close"
    return json_reply(content, status, headers)


def _announced(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def replay(messages: list[Message], receive: Receive) -> Receive:
    """These messages once more, then what comes."""
    waiting = iter(messages)

    async def replayed() -> Message:
        return next(waiting, None) or await receive()

    return replayed
