"""Makes the application: routes, layers and error bodies around a Server. Nothing happens at import."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from core.config import Settings
from core.pinned import PinnedReader
from core.releases import Reader, ReleaseReader
from problems import Problem
from serving import replies
from serving.documentation import documented
from serving.door import Door
from serving.guard import Guard
from serving.keys import KeyRing
from serving.limits import BodyLimit
from serving.routes import predicting, router
from serving.server import Server


class Application(FastAPI):
    """FastAPI behind layers of our own. They stand before its own ones, which cost as much as all of ours."""

    outer: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.outer(scope, receive, send)

    async def inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        """FastAPI itself."""
        await super().__call__(scope, receive, send)


def create_app(problem: Problem, settings: Settings, reader: Reader | None = None) -> Application:
    """The server of one problem. It serves what `reader` says is released."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported, with the first model
    ring = KeyRing(settings.keys_path)
    server = Server(problem, settings, reader or _reader(problem, settings))
    title, question = f"Closed Loop: {problem.spec.name}", problem.spec.question
    app = Application(title=title, description=question, docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.server = server
    app.include_router(predicting(problem.spec))
    app.include_router(router)
    app.add_exception_handler(replies.Refused, replies.on_refused)
    app.add_exception_handler(HTTPException, replies.on_http_error)
    app.add_exception_handler(RequestValidationError, replies.on_bad_query)
    app.add_exception_handler(Exception, replies.on_bug)
    door = Door(BodyLimit(app.inner, server.traffic, server.metrics.shed), server)
    app.outer = Guard(door, ring, settings.rate_per_s, server.metrics.requests.note)
    app.openapi = documented(app.openapi, problem.spec, ring.is_open)  # type: ignore[method-assign]
    return app


def _reader(problem: Problem, settings: Settings) -> Reader:
    if settings.model:
        return PinnedReader(Path(settings.model))
    return ReleaseReader(settings.mlflow_url, problem.spec.name)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    server: Server = app.state.server
    server.start()
    yield
    await run_in_threadpool(server.stop)
