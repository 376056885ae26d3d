"""Set up a second factor: a secret for the telephone, its first code, recovery codes."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from review.acts.forms import qr_svg
from review.rules.errors import RefusedError
from starter.web.dependencies import AccessDep
from starter.web.pages.frame import rendered
from starter.web.pages.refusals import told
from starter.web.pages.visitors import EnrollingSentDep, EnrollingVisitorDep, language_of_page

router = APIRouter(include_in_schema=False)


@router.get("/second-factor")
async def page(request: Request, visitor: EnrollingVisitorDep, access: AccessDep) -> Response:
    """Tell how it stands, and offer to begin."""
    held = await asyncio.to_thread(access.holds_second_factor, visitor.person.id)
    return rendered(
        request, "second_factor.html", visitor, held=held, secret="", uri="", codes=(),
        refusal=None,
    )  # fmt: skip


@router.post("/second-factor")
async def begin(
    request: Request, visitor: EnrollingVisitorDep, sent: EnrollingSentDep, access: AccessDep
) -> Response:
    """Show a new secret, and ask for its first code."""
    made = await asyncio.to_thread(access.begin_second_factor, visitor.person.id)
    return rendered(
        request, "second_factor.html", visitor, held=False, secret=made.secret, uri=made.uri,
        qr=qr_svg(made.uri), codes=(), refusal=None,
    )  # fmt: skip


@router.post("/second-factor/confirm")
async def confirm(
    request: Request, visitor: EnrollingVisitorDep, sent: EnrollingSentDep, access: AccessDep
) -> Response:
    """Take the first code; a wrong one begins anew, since the secret is shown once."""
    try:
        codes = await asyncio.to_thread(
            access.confirm_second_factor, visitor.person.id, sent.one("code"), visitor.session
        )
    except RefusedError as error:
        return rendered(
            request, "second_factor.html", visitor, status=error.status,
            held=error.code == "second_factor_held", secret="", uri="", codes=(),
            refusal=told(error, language_of_page(request)),
        )  # fmt: skip
    return rendered(
        request, "second_factor.html", visitor, held=True, secret="", uri="", codes=codes,
        refusal=None,
    )  # fmt: skip
