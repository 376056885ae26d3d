"""For anyone: is this text what the bureau published under this number? Nothing is kept.

A stranger learns of a number only whether the text they hold is the authorised one.
"""

import re
import time
from collections import OrderedDict, deque

from fastapi import APIRouter, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import Response

from review.rules.errors import RuleError, TooLargeError, TooManyError
from starter.web.bodies import malformed, read_body
from starter.web.dependencies import ReviewsDep, address_of, require_same_site
from starter.web.pages.frame import rendered
from starter.web.pages.manuscript import Whole
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    MaybeVisitorDep,
    Sent,
    as_sent,
    language_of_page,
)

router = APIRouter(prefix="/verify", include_in_schema=False)

LARGEST = 1024 * 1024  # bytes of a form
LONGEST = 200_000  # characters of a text, as in a submission
NUMBER = re.compile(r"[0-9A-Za-z-]{1,40}")
MOST = 30  # texts in a window from one address
WINDOW = 60.0  # seconds
ADDRESSES = 10_000  # remembered; the longest silent is forgotten first
HEADING = re.compile(r"#{1,6}\s+")


class Counted:
    """Counts how often each address asked within the window; in memory, forgotten at once."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()

    def one_more(self, address: str) -> None:
        """Count; raises TooManyError for one too many."""
        now = time.monotonic()
        moments = self._asked.setdefault(address, deque(maxlen=MOST))
        self._asked.move_to_end(address)
        while len(self._asked) > ADDRESSES:
            self._asked.popitem(last=False)
        while moments and moments[0] < now - WINDOW:
            moments.popleft()
        if len(moments) >= MOST:
            raise TooManyError(retry_after=int(moments[0] + WINDOW - now) + 1)
        moments.append(now)


@router.api_route("", methods=["GET", "HEAD"])
async def ask(request: Request, visitor: MaybeVisitorDep) -> Response:
    """Show the form."""
    return page(request, visitor, "", Sent({}))


@router.api_route("/{number}", methods=["GET", "HEAD"])
async def ask_about(request: Request, visitor: MaybeVisitorDep, number: str) -> Response:
    """Show the form for a number, whether or not there is such an item."""
    return page(request, visitor, number if NUMBER.fullmatch(number) else "", Sent({}))


@router.post("")
async def verify(request: Request, visitor: MaybeVisitorDep, reviews: ReviewsDep) -> Response:
    """Compare a text that was pasted or uploaded."""
    require_same_site(request)
    counted: Counted = request.app.state.verifying
    counted.one_more(address_of(request))
    sent = Sent({})
    try:
        sent, title, body = text_of(*await form_of(request))
        number = sent.one("number").strip()
        if not NUMBER.fullmatch(number):
            malformed("number", "missing")
        answer = await reviews.verify_text(number, title, body)
    except RuleError as error:
        if error.status not in (413, 422):
            raise
        return page(request, visitor, sent.one("number"), sent, error=error)
    return page(request, visitor, number, sent, answer=answer)


def page(
    request: Request,
    visitor: MaybeVisitorDep,
    number: str,
    sent: Sent,
    *,
    answer: str | None = None,
    error: RuleError | None = None,
) -> Response:
    refusal = told(error, language_of_page(request)) if error else None
    return rendered(
        request, "verify.html", visitor, status=error.status if error else 200,
        number=number, typed=sent, answer=answer, refusal=refusal,
    )  # fmt: skip


async def form_of(request: Request) -> tuple[Sent, str, bytes]:
    """Return the form's fields, and its file's name and bytes; nothing of it reaches the disk."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        malformed("form", "form_broken")
    raw, form = await read_body(request, LARGEST), Whole()
    names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end",
             "headers_finished", "end")  # fmt: skip
    parser = MultipartParser(boundary, {f"on_{n}": getattr(form, f"on_{n}") for n in names})  # type: ignore[arg-type]
    try:
        parser.write(raw)
        parser.finalize()
    except FormParserError:
        malformed("form", "form_broken")
    return as_sent(form.fields), form.name, bytes(form.content)


def text_of(sent: Sent, name: str, content: bytes) -> tuple[Sent, str, str]:
    """Return title and body; of a file without a title beside it the first line is the title.

    Raises:
        MalformedError: There is no text, or the file is none.
    """
    title, body = sent.one("title").strip(), sent.one("body")
    if content:
        if not name.lower().endswith((".txt", ".md")):
            malformed("file", "not_text")
        try:
            body = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            malformed("file", "not_utf8")
    if not title:
        first, _, rest = body.lstrip().partition("\n")
        title, body = HEADING.sub("", first).strip(), rest
    if len(title) + len(body) > LONGEST:
        raise TooLargeError(limit=LONGEST)
    if not title or not body.strip():
        malformed("body", "missing")
    return sent, title, body
