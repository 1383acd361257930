"""The OpenAPI document. The routes read raw bodies and queries; this adds what those are, and what the guard asks."""

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from core.schema import ProblemSpec
from serving.admission import OPEN_PATHS, scope_of
from serving.images import MAX_PIXELS, image_column
from serving.schemas import batch_model, row_type

COMPONENTS = "#/components/schemas/"
Document = dict[str, Any]
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, made by `loop keys add`."},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same in a header of its own.",
    },
}
GUARDED = {
    "401": "No API key, or one that is not valid.",
    "403": "The key lacks the scope of this path; or there are no keys, and the request is not from this machine.",
    "429": "Too many requests of this key.",
}


def documented(plain: Callable[[], Document], spec: ProblemSpec, is_open: Callable[[], bool]) -> Callable[[], Document]:
    """The document that `plain` makes, with the bodies of the problem's requests. While open, keys are optional."""
    row = row_type(spec)
    adapters: dict[str, TypeAdapter[Any]] = {"/predict": TypeAdapter(row)}
    adapters["/predict/batch"] = TypeAdapter(batch_model(spec, row))
    named = [(path, "validation", adapter) for path, adapter in adapters.items()]
    bodies, definitions = TypeAdapter.json_schemas(named, ref_template=COMPONENTS + "{model}")  # type: ignore[arg-type]
    of_row = definitions["$defs"][bodies["/predict", "validation"]["$ref"].removeprefix(COMPONENTS)]

    def openapi() -> Document:
        document = plain()
        document["components"]["schemas"] |= definitions["$defs"]
        posts = {path: about["post"] for path, about in document["paths"].items() if "post" in about}
        for path in adapters:
            posts[path]["requestBody"] = _body("application/json", bodies[path, "validation"])
        if image := image_column(spec):
            posts["/predict/image"] |= _upload(spec, image, of_row)
        _guarded(document, is_open())
        return document

    return openapi


def _guarded(document: Document, optional: bool) -> None:
    document["components"]["securitySchemes"] = SCHEMES
    refused = {"application/json": {"schema": {"$ref": f"{COMPONENTS}Errors"}}}
    for path, methods in document["paths"].items():
        for about in methods.values() if path not in OPEN_PATHS else ():
            keys: list[Document] = [{name: [scope_of(path)]} for name in SCHEMES]
            about["security"] = [{}, *keys] if optional else keys
            about["responses"] |= {code: {"description": text, "content": refused} for code, text in GUARDED.items()}


def _upload(spec: ProblemSpec, image: str, row: Document) -> Document:
    """The image is the body, what else a row has is the query."""
    height, width = spec.columns[image].shape
    about = (
        f"{spec.columns[image].description.rstrip('.')}: a PNG of at most {MAX_PIXELS} pixels. It is made grey and "
        f"resized to {height} x {width} (height x width); transparent pixels are black."
    )
    query = [
        {"name": name, "in": "query", "required": name in row["required"], "schema": schema}
        | {"description": schema["description"]}
        for name, schema in row["properties"].items()
        if name != image
    ]
    body = _body("image/png", {"type": "string", "format": "binary"})
    return {"requestBody": body | {"description": about}, "parameters": query}


def _body(media_type: str, schema: Document) -> Document:
    return {"required": True, "content": {media_type: {"schema": schema}}}
