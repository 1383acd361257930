"""Makes the application: routes, layers, error bodies and documentation around a Server. Nothing happens at import."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from core.config import Settings
from core.releases import ReleaseReader
from core.schema import ProblemSpec
from problems import Problem
from serving import replies
from serving.limits import BodyLimit
from serving.routes import router
from serving.schemas import batch_model
from serving.server import Server
from serving.telemetry import Timed

COMPONENTS = "#/components/schemas/"


def create_app(problem: Problem, settings: Settings, reader: ReleaseReader | None = None) -> FastAPI:
    """The server of one problem. It serves what `reader` says is released."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported, with the first model
    server = Server(problem, settings, reader or ReleaseReader(settings.mlflow_url, problem.spec.name))
    app = FastAPI(title=f"Closed Loop: {problem.spec.name}", description=problem.spec.question, lifespan=_lifespan)
    app.state.server = server
    app.include_router(router)
    app.add_middleware(BodyLimit)
    app.add_middleware(Timed, metrics=server.metrics)
    app.add_exception_handler(replies.Refused, replies.on_refused)
    app.add_exception_handler(HTTPException, replies.on_http_error)
    app.add_exception_handler(Exception, replies.on_bug)
    app.openapi = _documented(app.openapi, problem.spec, server)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    server: Server = app.state.server
    server.start()
    yield
    await run_in_threadpool(server.stop)


def _documented(plain: Callable[[], dict[str, Any]], spec: ProblemSpec, server: Server) -> Callable[[], dict[str, Any]]:
    """The routes read raw bodies; this adds what those bodies are."""
    row = server.parser.row
    bodies = {"/predict": row, "/predict/batch": batch_model(spec, row)}
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in bodies.values()]
    _, definitions = models_json_schema(models, ref_template=COMPONENTS + "{model}")

    def openapi() -> dict[str, Any]:
        document = plain()
        document["components"]["schemas"] |= definitions["$defs"]
        for path, model in bodies.items():
            content = {"application/json": {"schema": {"$ref": COMPONENTS + model.__name__}}}
            document["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
        return document

    return openapi
