"""The HTTP routes. Each reads, calls once and answers; what they mean is in `server`."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from core.schema import ProblemSpec
from serving.admission import OPERATES
from serving.answers import prediction_model, predictions_model
from serving.explain import ABOUT, PARAMETER, explainable, explained_model, refuse_arrays
from serving.images import image_column
from serving.page import page
from serving.replies import Errors, FieldError, Refused, json_reply
from serving.server import Server

router = APIRouter()
PNG = "image/png"
REFUSALS: dict[int | str, dict[str, type[BaseModel]]] = {code: {"model": Errors} for code in (400, 413, 422, 503)}


class Health(BaseModel):
    """The process is alive."""

    status: str = "ok"


class Readiness(BaseModel):
    """Whether requests are answered, and what stands in the way of serving what is released."""

    ready: bool
    reason: str | None = Field(
        description="Why it is not ready; or why it serves not what is released, or cannot ship."
    )
    registry_reachable: bool
    pending_rows: int = Field(description="Predictions in the local spool that the store has not taken yet.")


class Served(BaseModel):
    """What answers now."""

    problem: str
    champion: str | None = Field(description="Version that answers.")
    canary: str | None = Field(description="Version that answers a share of the entities.")
    percent: float = Field(description="That share.")
    shadow: str | None = Field(description="Version that is scored on what the champion answers, and answers nothing.")
    loaded: list[str] = Field(description="Versions in memory.")
    lookups_id: int = Field(description="Id of the newest look-up row in use.")
    pending_rows: int = Field(description="Predictions in the local spool that the store has not taken yet.")
    registry_reachable: bool
    refused: dict[str, str] = Field(description="Version -> why it is not served.")


def predicting(spec: ProblemSpec) -> APIRouter:
    """The routes whose answers depend on the problem's task; one for images, if it has an image."""
    found, answer = APIRouter(responses=REFUSALS), prediction_model(spec)
    one: dict[str, Any] = {"methods": ["POST"], "summary": "Answer one row"}
    if explainable(spec):
        explained = answer | explained_model(spec, answer)
        one["responses"] = {409: {"model": Errors, "description": "The model cannot be explained"}}
        found.add_api_route("/predict", predict_or_explain, response_model=explained, **one)
    else:
        found.add_api_route("/predict", predict, response_model=answer, **one)
    many: dict[str, Any] = {"response_model": predictions_model(answer), "summary": "Answer many rows"}
    found.add_api_route("/predict/batch", predict_batch, methods=["POST"], **many)
    if image_column(spec):
        image: dict[str, Any] = {"response_model": answer, "summary": "Answer one row whose image is a PNG"}
        image["responses"] = {415: {"model": Errors}}
        found.add_api_route("/predict/image", predict_image, methods=["POST"], **image)
    return found


async def predict(request: Request) -> Response:
    """What is asked without a query is met by serving.door before it comes here."""
    if PARAMETER in request.query_params:
        raise refuse_arrays()
    return json_reply(await _server(request).predict_one(await request.body()))


async def predict_or_explain(request: Request, explain: Annotated[bool, Query(description=ABOUT)] = False) -> Response:
    server, body = _server(request), await request.body()
    return await _in_pool(server, server.explain_one, body) if explain else json_reply(await server.predict_one(body))


async def predict_batch(request: Request) -> Response:
    server = _server(request)
    return await _in_pool(server, server.predict_many, await request.body())


async def predict_image(request: Request) -> Response:
    sent = request.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() != PNG:
        raise Refused(415, FieldError(field="body", message=f"expected content type {PNG}", got=sent[:80] or None))
    server = _server(request)
    return await _in_pool(server, server.predict_image, await request.body(), dict(request.query_params))


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    return Health()


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Does it answer?")
async def readyz(request: Request) -> Response:
    server = _server(request)
    ready, reason = server.ready, server.reason
    if reason and not request.scope.get(OPERATES, True):
        reason = "an API key that may operate is told the reason"
    content = Readiness(
        ready=ready,
        reason=reason,
        registry_reachable=server.follower.registry_error is None,
        pending_rows=server.spool.pending_rows,
    )
    return json_reply(content.model_dump(), 200 if ready else 503)


@router.get("/release", summary="What answers?")
async def release(request: Request) -> Served:
    server = _server(request)
    state, follower = server.follower.state, server.follower
    loaded = {role: model.version for role, model in state.roles.items()}
    return Served(
        problem=server.problem.spec.name,
        champion=loaded.get("champion"),
        canary=loaded.get("canary"),
        percent=state.percent,
        shadow=loaded.get("shadow"),
        loaded=list(loaded.values()),
        lookups_id=state.lookups_id,
        pending_rows=server.spool.pending_rows,
        registry_reachable=follower.registry_error is None,
        refused=follower.refusals.reasons,
    )


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    return Response(generate_latest(_server(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    return HTMLResponse(page(request.app.openapi(), str(request.base_url).rstrip("/")))


async def _in_pool(server: Server, ask: Callable[..., dict[str, Any]], *what: Any) -> Response:
    """For what takes long: other requests are answered meanwhile."""
    with server.admitted():
        return json_reply(await asyncio.get_running_loop().run_in_executor(server.pool, ask, *what))


def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server
