"""Uploads: one file of a form, read in memory, and fetched again as a file to keep.

The framework's own form parser writes larger files to the disk while they arrive, unscreened; so
the form is taken apart here (R1.3-4).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import Response

from review.rules.errors import NotFoundError, TooLargeError, TooManyError, UnsupportedMediaError
from review.uploads import LARGEST
from starter.web.bodies import malformed
from starter.web.dependencies import ID, CallerDep, KeyDep, ReviewsDep
from starter.web.openapi import READS, WRITES, gives, refusals
from starter.web.problems import Answer, findings_in, language_for
from starter.web.submissions import BOXED

router = APIRouter(prefix="/api/v1/attachments", tags=["attachments"])

FIELD = "file"
FORM_ROOM = 16 * 1024  # bytes of boundaries and headers around the file
MOST_AT_ONCE = 4  # uploads in memory; each may take several times its size while it is examined
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class Gauge:
    """Counts the uploads that are in memory."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._left = most

    def __enter__(self) -> None:
        if not self._left:
            raise TooManyError(why="uploads")
        self._left -= 1

    def __exit__(self, *_: object) -> None:
        self._left += 1


@dataclass
class Form:
    """The form as it arrives: one part, `file`, with its file's name."""

    name: str = ""
    content: bytearray = field(default_factory=bytearray, repr=False)
    parts: int = 0
    ended: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""

    def on_part_begin(self) -> None:
        self.parts += 1
        self._disposition = b""
        if self.parts > 1:
            malformed(FIELD, "one_file")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        # Browsers send names as UTF-8; the parser of options wants them as they are in a header.
        kind, options = parse_options_header(self._disposition.decode("latin-1"))
        if kind != b"form-data" or options.get(b"name") != FIELD.encode():
            malformed(FIELD, "one_file")
        try:
            self.name = options.get(b"filename", b"").decode("utf-8")
        except UnicodeDecodeError:
            malformed(FIELD, "name_without_ending")

    def on_part_end(self) -> None:
        """Nothing is left to do for the file, which is kept as it came."""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self.content) + end - start > LARGEST:
            raise TooLargeError(limit=LARGEST)
        self.content += data[start:end]

    def on_end(self) -> None:
        self.ended = True


async def read_form(request: Request, form: Form | None = None, room: int = FORM_ROOM) -> Form:
    """Return the file of a form.

    Args:
        form: What takes the parts; only a file unless given.
        room: Bytes that may come beside the file.

    Raises:
        TooLargeError: More than is taken, or said to be.
        UnsupportedMediaError: The body does not say that it is a form with files.
        MalformedError: Broken, or other than one part called `file`.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > LARGEST + room:
        raise TooLargeError(limit=LARGEST)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= 200:
        raise UnsupportedMediaError(expected="multipart/form-data")
    form = form or Form()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": form.on_part_begin,
            "on_part_data": form.on_part_data,
            "on_part_end": form.on_part_end,
            "on_header_field": form.on_header_field,
            "on_header_value": form.on_header_value,
            "on_header_end": form.on_header_end,
            "on_headers_finished": form.on_headers_finished,
            "on_end": form.on_end,
        },
    )
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > LARGEST + room:
                raise TooLargeError(limit=LARGEST)
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        malformed(FIELD, "form_broken")
    if not form.ended or not form.parts:
        malformed(FIELD, "form_broken")
    return form


@router.post("", status_code=201, openapi_extra=FORM, responses=refusals(*WRITES, 429))
async def attach(request: Request, caller: CallerDep, reviews: ReviewsDep, key: KeyDep) -> Answer:
    """Take one file: clean it, screen it, keep it; 409 `screening_stop` keeps nothing."""
    reviews.may_attach(caller.person)
    gauge: Gauge = request.app.state.uploads
    with gauge:
        form = await read_form(request)
        taken = await reviews.attach(
            caller.person, form.name, bytes(form.content), key=key, way_in=caller.way_in
        )
    return Answer(findings_in(taken, language_for(request)), 201)


@router.get("/{attachment_id}", responses=refusals(*READS, 409), **gives("*/*"))
async def attachment(
    caller: CallerDep,
    attachment_id: Annotated[str, Path(description="An attachment's id.")],
    reviews: ReviewsDep,
) -> Response:
    """Hand over an attachment as a file; whoever sees an item that uses it may have it."""
    if not ID.fullmatch(attachment_id):
        raise NotFoundError
    kept, content = await reviews.attachment(caller.person, attachment_id)
    headers = {
        **BOXED,
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(kept.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=kept.media_type, headers=headers)
