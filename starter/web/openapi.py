"""What the interface says about itself: bodies and refusals, and a page without script."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response

from review import requests as bodies
from review.texts import text
from starter.web.problems import MEDIA_TYPE

REF = "#/components/schemas/{model}"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details; parameters of the refusal stand beside.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; what a program may rely on."},
        "detail": {"type": "string", "description": "What is so and what to do next."},
    },
}
# A shut door looks the same on every route.
SIGNED_IN = (401, 403, 503)
OPEN = ("/api/v1/session", "/api/v1/first-administrator")  # nobody is signed in yet
WRITES = (*SIGNED_IN, 404, 409, 413, 415, 422)
READS = (*SIGNED_IN, 404, 422)


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Return how a route says which JSON body it takes."""
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a route says which refusals it may answer."""
    schema = {"$ref": REF.format(model="Problem")}
    return {
        status: {
            "description": text(f"problem.{status}", "en"),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted(statuses)
    }


def gives(*media_types: str) -> dict[str, Any]:
    """Return how a route says what it answers with, where that is not JSON.

    It names no `response_class` with a media type of its own beside.
    """
    shape = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(media_types, shape)
    extra = {"responses": {"200": {"content": content}}}
    return {"response_class": Response, "openapi_extra": extra}


def describe(app: FastAPI, extra_models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """Return the whole OpenAPI document; made once, on the first request for it."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    models: tuple[type[BaseModel], ...] = (
        bodies.Draft,
        bodies.NewVersion,
        bodies.DecisionRequest,
        bodies.ActRequest,
        bodies.HookDecision,
        *extra_models,
    )
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    components = document.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | schemas["$defs"] | {"Problem": PROBLEM}
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "sanshen_session"},
    }
    for path, operations in document["paths"].items():
        if path.startswith("/api/v1/") and path not in OPEN:
            for operation in operations.values():
                operation["security"] = [{"token": []}, {"session": []}]
    app.openapi_schema = document
    return document
