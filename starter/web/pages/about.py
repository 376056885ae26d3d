"""What anyone may read: the interface's own documentation."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from review.texts import catalogue
from starter.web.pages.frame import rendered
from starter.web.pages.visitors import MaybeVisitorDep, language_of_page
from starter.web.problems import Answer

router = APIRouter(include_in_schema=False)


@router.get("/api/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the interface in OpenAPI."""
    return Answer(request.app.openapi())


@router.api_route("/api/docs", methods=["GET", "HEAD"])
async def docs(request: Request, visitor: MaybeVisitorDep) -> Response:
    """List every operation and every refusal; loads nothing from elsewhere."""
    document = request.app.openapi()
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    refusals = {
        code.removeprefix("error."): words
        for code, words in sorted(catalogue(language_of_page(request)).items())
        if code.startswith("error.") and code.count(".") == 1
    }
    return rendered(
        request, "docs.html", visitor, operations=operations,
        schemas=document["components"]["schemas"], refusals=refusals,
    )  # fmt: skip
