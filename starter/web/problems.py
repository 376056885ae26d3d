"""How a refusal becomes an answer: RFC 9457 problem details in the caller's language."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from review.rules.errors import RuleError
from review.texts import LANGUAGES, text

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {429: "30", 503: "2"}  # seconds; a locked ledger is free again well within them
CODE_OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media",
    500: "internal_error",
}
STANDARD_MEMBERS = frozenset({"type", "title", "status", "code", "detail", "instance"})
TEXT_ARGUMENTS = frozenset({"code", "language"})  # names that `text` itself takes
FIELD_LENGTH = 100  # a field's name comes from the caller; no more of it is given back
MOST_ERRORS = 50


class Answer(Response):
    """A JSON answer, written straight from what `Reviews` returned."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content, fallback=str)


def language_of(header: str | None, default: str = "zh") -> str:
    """Return the language an Accept-Language header likes best, of those we have."""
    best, liking = default, 0.0
    for part in (header or "")[:500].split(","):
        tag, _, quality = part.partition(";")
        language = tag.strip().lower().split("-")[0]
        try:
            q = float(quality.strip().removeprefix("q=")) if quality.strip() else 1.0
        except ValueError:
            continue
        if language in LANGUAGES and liking < q <= 1:
            best, liking = language, q
    return best


def language_for(request: Request) -> str:
    """Return the language to answer a request in."""
    return language_of(request.headers.get("accept-language"), request.app.state.language)


def detail_of(code: str, language: str, params: Mapping[str, Any]) -> str:
    """Return what is so and what to do next; `why` in the params picks a more exact text."""
    shown = {name: value for name, value in params.items() if name not in TEXT_ARGUMENTS}
    if why := shown.get("why"):
        exact = f"error.{code}.{why}"
        if (found := text(exact, language, **shown)) != exact:
            return found
    general = f"error.{code}"
    found = text(general, language, **shown)
    return found if found != general else text("error.refused", language, **shown)


def problem(
    status: int,
    code: str,
    language: str,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return the answer for one refusal; its parameters stand beside the standard members."""
    params = params or {}
    body = {
        "type": f"/api/docs#{code}",
        "title": text(f"problem.{status}", language),
        "status": status,
        "code": code,
        "detail": detail_of(code, language, params),
    } | {name: value for name, value in params.items() if name not in STANDARD_MEMBERS}
    answer = Answer(body, status, headers, MEDIA_TYPE)
    answer.headers["Content-Language"] = language
    if status in RETRY_AFTER:
        wait = params.get("retry_after", RETRY_AFTER[status])
        answer.headers.setdefault("Retry-After", str(wait))
    if status == 401:
        answer.headers.setdefault("WWW-Authenticate", "Bearer")
    return answer


def field_errors(errors: Iterable[Mapping[str, Any]], language: str) -> list[dict[str, str]]:
    """Return pydantic's errors as `{field, type, message}`, without what the caller sent."""
    found = []
    for error in list(errors)[:MOST_ERRORS]:
        kind = str(error["type"])
        places = [str(place) for place in error["loc"] if place not in ("body", "query", "header")]
        field = ".".join(places).encode("utf-8", "replace").decode()[:FIELD_LENGTH]
        context = {k: v for k, v in (error.get("ctx") or {}).items() if k not in TEXT_ARGUMENTS}
        message = text(f"malformed.{kind}", language, **context)
        if message == f"malformed.{kind}":
            message = text("malformed.other", language)
        found.append({"field": field, "type": kind, "message": message})
    return found


def worded(error: Any, language: str) -> Any:
    """Return a rule's `{field, message}` with its message code put into words."""
    if not isinstance(error, Mapping) or "message" not in error:
        return error
    kind = str(error["message"])
    words = text(f"malformed.{kind}", language)
    message = kind if words == f"malformed.{kind}" else words
    return dict(error) | {"type": kind, "message": message}


def findings_in(answer: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return an answer with what to do about each of its findings in the caller's language."""
    found = []
    for finding in answer.get("findings") or ():
        shown = dict(finding)
        code = shown.pop("advice_code", None)
        if code is not None:
            shown["advice"] = text(code, language, suggest=shown.get("suggest", ""))
        found.append(shown)
    return dict(answer) | {"findings": found}


async def on_rule_error(request: Request, error: Exception) -> Response:
    """A rule said no: the table of contract.md, carried by the error's class."""
    assert isinstance(error, RuleError)
    language = language_for(request)
    params = dict(error.params)
    if pydantic_errors := params.pop("pydantic_errors", None):
        params["errors"] = field_errors(pydantic_errors, language)
    elif isinstance(given := params.get("errors"), (list, tuple)):
        params["errors"] = [worded(error, language) for error in given]
    if params.get("findings"):
        params = findings_in(params, language)
    return problem(error.status, error.code, language, params)


async def on_malformed(request: Request, error: Exception) -> Response:
    """A parameter of path, query or header has the wrong shape."""
    assert isinstance(error, RequestValidationError)
    language = language_for(request)
    return problem(422, "malformed", language, {"errors": field_errors(error.errors(), language)})


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown routes and methods, and what the framework itself refuses."""
    assert isinstance(error, HTTPException)
    code = CODE_OF_STATUS.get(error.status_code, "refused")
    return problem(error.status_code, code, language_for(request), headers=error.headers)
