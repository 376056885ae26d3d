"""Items: submit, decide, answer, act, and read one item from every side."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from review.requests import ActRequest, DecisionRequest, Draft, NewVersion
from review.rules.values import Category, Kind, Status
from starter.web.bodies import UNPRINTABLE, body_of, malformed
from starter.web.dependencies import (
    AfterQuery,
    CallerDep,
    FromQuery,
    IdDep,
    KeyDep,
    LimitQuery,
    ReviewsDep,
    ToQuery,
    listing,
    moment_of,
)
from starter.web.openapi import READS, WRITES, gives, refusals, takes
from starter.web.problems import Answer, findings_in, language_for

router = APIRouter(prefix="/api/v1/submissions", tags=["submissions"])

# What is shown of a text that is still under review may run and load nothing.
BOXED = {"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; sandbox"}

ZIP = "application/zip"
PIECE = 256 * 1024  # bytes sent at once
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

IdentQuery = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,120}$")]


@router.post("", status_code=201, openapi_extra=takes(Draft), responses=refusals(*WRITES))
async def submit(
    request: Request,
    caller: CallerDep,
    draft: Annotated[Draft, Depends(body_of(Draft))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Submit a text for review; 409 `screening_stop` stores nothing."""
    taken = await reviews.submit(caller.person, draft, key=key, way_in=caller.way_in)
    request.state.submission_id = taken["id"]
    return Answer(findings_in(taken, language_for(request)), 201)


@router.get("", responses=refusals(*READS))
async def submissions(
    caller: CallerDep,
    reviews: ReviewsDep,
    status: Status | None = None,
    category: Category | None = None,
    kind: Kind | None = None,
    unit: IdentQuery = None,
    overdue: bool | None = None,
    mine: bool | None = None,
    topic: Annotated[
        str | None, Query(min_length=1, max_length=60, description="A topic's id or number.")
    ] = None,
    q: Annotated[str | None, Query(max_length=100)] = None,
    from_: FromQuery = None,
    to: ToQuery = None,
    limit: LimitQuery = 50,
    after: AfterQuery = None,
) -> Answer:
    """List the items that the caller may see, newest first."""
    for name, value in (("q", q), ("topic", topic)):
        if value and UNPRINTABLE.search(value):
            malformed(name, "unprintable")
    filters: dict[str, str | bool | datetime | None] = {
        "status": status,
        "category": category,
        "kind": kind,
        "unit": unit,
        "overdue": overdue,
        "mine": mine,
        "q": q,
        "topic": topic,
        "from": moment_of(from_, "from"),
        "to": moment_of(to, "to", end=True),
    }
    given = {name: value for name, value in filters.items() if value is not None}
    return Answer(listing(await reviews.submissions(caller.person, given, limit, after)))


@router.get("/{submission_id}", responses=refusals(*READS))
async def submission(
    request: Request, caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep
) -> Answer:
    """Show one item: the running workflow's word joined with the ledger's."""
    language = language_for(request)
    found = await reviews.submission(caller.person, submission_id, language)
    return Answer(findings_in(found, language))


@router.get("/{submission_id}/timeline", responses=refusals(*READS))
async def timeline(caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep) -> Answer:
    """Tell what happened to an item, in order."""
    return Answer(listing(await reviews.timeline(caller.person, submission_id)))


@router.get("/{submission_id}/related", responses=refusals(*READS))
async def related(caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep) -> Answer:
    """List incident, topic, orders and cases of an item, as far as the caller may read them."""
    return Answer(listing(await reviews.related(caller.person, submission_id)))


@router.get("/{submission_id}/versions", responses=refusals(*READS))
async def versions(caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep) -> Answer:
    """List an item's versions, none of which ever changes."""
    return Answer(listing(await reviews.versions(caller.person, submission_id)))


@router.get("/{submission_id}/diff", responses=refusals(*READS))
async def diff(
    caller: CallerDep,
    submission_id: IdDep,
    reviews: ReviewsDep,
    from_: Annotated[int, Query(alias="from", ge=1, le=100_000)],
    to: Annotated[int, Query(ge=1, le=100_000)],
) -> Answer:
    """Show what changed between two versions, named by their numbers."""
    return Answer(await reviews.diff(caller.person, submission_id, from_, to))


@router.get("/{submission_id}/form.html", responses=refusals(*READS), **gives("text/html"))
async def form_html(
    request: Request, caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep
) -> Response:
    """Return the official form, annex 1 or 2, filled in."""
    site: str = request.app.state.public_url
    form = await reviews.form_html(caller.person, submission_id, site)
    return HTMLResponse(form, headers=BOXED)


@router.get("/{submission_id}/form.docx", responses=refusals(*READS, 409), **gives(WORD))
async def form_docx(
    request: Request, caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep
) -> Response:
    """Return the official form and its 附页 as a Word file."""
    state = request.app.state
    number, content = await reviews.form_docx(
        caller.person, submission_id, state.public_url, state.forms
    )
    named = {"Content-Disposition": f'attachment; filename="{number}.docx"'}
    return Response(content, media_type=WORD, headers=BOXED | named)


@router.get("/{submission_id}/bundle.zip", responses=refusals(*READS, 403, 409), **gives(ZIP))
async def bundle(
    request: Request, caller: CallerDep, submission_id: IdDep, reviews: ReviewsDep
) -> StreamingResponse:
    """Return one item with its files, decisions and trace; `verify.py` in it checks them."""
    state = request.app.state
    number, file = await reviews.bundle(caller.person, submission_id, state.public_url, state.forms)

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE):
                yield piece

    named = {"Content-Disposition": f'attachment; filename="{number}.zip"'}
    return StreamingResponse(pieces(), media_type=ZIP, headers=BOXED | named)


@router.get(
    "/{submission_id}/preview", responses=refusals(*READS), **gives("text/html", "text/plain")
)
async def preview(
    caller: CallerDep,
    submission_id: IdDep,
    reviews: ReviewsDep,
    channel: Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{1,120}$")],
) -> Response:
    """Return the item as a channel would show it: what the third proof reads (A-3)."""
    media_type, page = await reviews.preview(caller.person, submission_id, channel)
    return Response(page, media_type=media_type, headers=BOXED)


@router.post(
    "/{submission_id}/decisions",
    openapi_extra=takes(DecisionRequest),
    responses=refusals(*WRITES),
)
async def decide(
    caller: CallerDep,
    submission_id: IdDep,
    decision: Annotated[DecisionRequest, Depends(body_of(DecisionRequest))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Take one decision; answered once it is committed. The key is the decision's id."""
    taken = await reviews.decide(
        caller.person, submission_id, decision, decision_id=key, way_in=caller.way_in
    )
    return Answer(taken)


@router.post(
    "/{submission_id}/versions",
    status_code=201,
    openapi_extra=takes(NewVersion),
    responses=refusals(*WRITES),
)
async def add_version(
    request: Request,
    caller: CallerDep,
    submission_id: IdDep,
    version: Annotated[NewVersion, Depends(body_of(NewVersion))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Take the author's answer after a return, or an editor's edit in an edit step."""
    taken = await reviews.new_version(
        caller.person, submission_id, version, key=key, way_in=caller.way_in
    )
    return Answer(findings_in(taken, language_for(request)), 201)


@router.post("/{submission_id}/acts", openapi_extra=takes(ActRequest), responses=refusals(*WRITES))
async def act(
    caller: CallerDep,
    submission_id: IdDep,
    asked: Annotated[ActRequest, Depends(body_of(ActRequest))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Do any other act on an item, such as hold, transfer, waive or retract."""
    done = await reviews.act(caller.person, submission_id, asked, key=key, way_in=caller.way_in)
    return Answer(done)
