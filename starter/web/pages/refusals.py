"""How a refusal looks to somebody who reads pages: what is so, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from review.rules.errors import LedgerUnavailableError, MalformedError, RuleError
from review.texts import text
from starter.web import problems
from starter.web.dependencies import CSRF_HEADER
from starter.web.pages.frame import rendered, sign_in_address
from starter.web.pages.visitors import (
    Visitor,
    by_htmx,
    language_of_page,
    maybe_visitor,
    wants_page,
)
from starter.web.problems import CODE_OF_STATUS, RETRY_AFTER, detail_of, field_errors, worded

NOTICE = {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML show:top"}


class Told(dict[str, Any]):
    """A refusal in words: `code`, `words`, and `fields` by name."""


def told(error: RuleError, language: str) -> Told:
    """Return a refusal as a page shows it beside the form that was refused."""
    params = dict(error.params)
    for name in ("status", "verdict", "step"):  # codes inside a sentence become words too
        if isinstance(params.get(name), str):
            params[name] = text(f"{name}.{params[name]}", language)
    fields = [
        {"field": str(one.get("field", "")), "message": str(one.get("message", ""))}
        for one in _errors(error, language)
    ]
    return Told(code=error.code, words=_detail(error.code, language, params), fields=fields)


def _errors(error: RuleError, language: str) -> Sequence[Mapping[str, Any]]:
    if pydantic_errors := error.params.get("pydantic_errors"):
        return field_errors(pydantic_errors, language)
    return [worded(one, language) for one in error.params.get("errors", ())]


def _detail(code: str, language: str, params: Mapping[str, Any]) -> str:
    """Pages have words of their own where the interface's name its headers and fields."""
    why = params.get("why")
    for found in (f"page.error.{code}.{why}", f"page.error.{code}"):
        words = text(found, language, **{k: v for k, v in params.items() if k != "code"})
        if words != found:
            return words
    return detail_of(code, language, params)


async def page_of(request: Request, error: RuleError) -> Response:
    """Return the page, or with script the notice, for a refusal that no form has caught."""
    language = language_of_page(request)
    asks_again = error.status == 401 and request.method in ("GET", "HEAD")
    if asks_again and not by_htmx(request):
        return RedirectResponse(sign_in_address(request), 303)
    enrol = error.code == "second_factor_needed" and error.params.get("why") == "role"
    if enrol and request.method in ("GET", "HEAD") and not by_htmx(request):
        return RedirectResponse("/second-factor", 303)
    visitor = await _known(request, error)
    headers: dict[str, str] = {}
    if error.status in RETRY_AFTER:
        wait = error.params.get("retry_after", RETRY_AFTER[error.status])
        headers["Retry-After"] = str(wait)
    if error.params.get("why") == "csrf" and visitor is not None:
        # The page was opened under an earlier session. Its form takes the new token and may be
        # sent again; another site could not read this answer.
        headers[CSRF_HEADER] = visitor.csrf
    if by_htmx(request):
        return rendered(
            request, "_notice.html", visitor, status=error.status, headers=headers | NOTICE,
            refusal=told(error, language),
        )  # fmt: skip
    return rendered(
        request, "error.html", visitor, status=error.status, headers=headers,
        refusal=told(error, language), http_status=error.status,
    )  # fmt: skip


def broken_page(request: Request, request_id: str) -> Response:
    """Return the page for a bug; it asks the ledger nothing, which may be what is broken."""
    words = text("page.error.internal_error", language_of_page(request), request_id=request_id)
    return rendered(
        request, "error.html", status=500, http_status=500,
        refusal=Told(code="internal_error", words=words, fields=[]),
    )  # fmt: skip


async def _known(request: Request, error: RuleError) -> Visitor | None:
    """Return who reads the refusal, so that the page around it is theirs."""
    if error.status in (401, 503):
        return None
    try:
        return await maybe_visitor(request)
    except LedgerUnavailableError:
        return None


# --- the application's table of errors ------------------------------------------------------------


async def on_rule_error(request: Request, error: Exception) -> Response:
    """A rule said no; a program gets problem details, a reader a page."""
    assert isinstance(error, RuleError)
    if wants_page(request):
        return await page_of(request, error)
    return await problems.on_rule_error(request, error)


async def on_malformed(request: Request, error: Exception) -> Response:
    """A parameter of path or query has the wrong shape."""
    assert isinstance(error, RequestValidationError)
    if wants_page(request):
        return await page_of(request, MalformedError(pydantic_errors=error.errors()))
    return await problems.on_malformed(request, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown addresses and methods, and what the framework itself refuses."""
    assert isinstance(error, HTTPException)
    if wants_page(request):
        refusal = RuleError(CODE_OF_STATUS.get(error.status_code, "refused"))
        refusal.status = error.status_code
        return await page_of(request, refusal)
    return await problems.on_http_exception(request, error)
