"""Pages without script: the landing page and the interface's own documentation."""

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from review.texts import LANGUAGES, catalogue, text
from starter.web.problems import Answer, language_for

HERE = Path(__file__).parent
STATIC = HERE / "static"

router = APIRouter(include_in_schema=False)


@cache
def templates() -> Environment:
    """Return the templates; every value is escaped."""
    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
    )


def rendered(request: Request, template: str, **values: Any) -> HTMLResponse:
    """Return a page in the reader's language; `?lang=` beats the browser's."""
    chosen = request.query_params.get("lang", "")
    language = chosen if chosen in LANGUAGES else language_for(request)

    def t(code: str, **params: Any) -> str:
        return text(f"web.{code}", language, **params)

    page = templates().get_template(template).render(t=t, language=language, **values)
    return HTMLResponse(page, headers={"Content-Language": language, "Vary": "Accept-Language"})


@router.api_route("/", methods=["GET", "HEAD"])
async def landing(request: Request) -> Response:
    """Say what this is and lead on."""
    return rendered(request, "landing.html")


@router.get("/api/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the interface in OpenAPI."""
    return Answer(request.app.openapi())


@router.api_route("/api/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> Response:
    """List every operation and every refusal; loads nothing from elsewhere."""
    document = request.app.openapi()
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = document["components"]["schemas"]
    chosen = request.query_params.get("lang", "")
    language = chosen if chosen in LANGUAGES else language_for(request)
    refusals = {
        code.removeprefix("error."): words
        for code, words in sorted(catalogue(language).items())
        if code.startswith("error.") and code.count(".") == 1
    }
    return rendered(request, "docs.html", operations=operations, schemas=schemas, refusals=refusals)
