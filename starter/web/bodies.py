"""Take a request's body apart, strictly and after the caller is known.

The framework would parse JSON before it asks who calls, and leaves to each model what every text
must obey; so bodies are read here.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from review.rules.errors import MalformedError, TooLargeError, UnsupportedMediaError

JSON_LIMIT = 2 * 1024 * 1024  # bytes; ten times the longest body of a submission
YEARS = range(1970, 2200)  # what every database and every zone can hold
# Databases refuse NUL, XML (and so the official form) the others.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
MAYBE_UNPRINTABLE = re.compile(rb"\\u00[01]|\\[bf]|\\u[fF]{3}|\xef\xbf[\xbe\xbf]")

Model = TypeVar("Model", bound=BaseModel)


def malformed(field: str, kind: str, **context: Any) -> NoReturn:
    """Refuse one field; the words come from the catalogue under `malformed.KIND`."""
    error = {"type": kind, "loc": (field,), "ctx": context}
    raise MalformedError(pydantic_errors=[error])


async def read_body(request: Request, limit: int = JSON_LIMIT) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: It has, or says it has, more bytes than the limit.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLargeError(limit=limit)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLargeError(limit=limit)
        chunks.append(chunk)
    return b"".join(chunks)


def require_json(request: Request) -> None:
    """Refuse a body that does not say it is JSON; no form of another site can say so."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"') or "utf-8"
    if media_type.strip().lower() != "application/json" or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaError(expected="application/json")


def parsed(model: type[Model], raw: bytes) -> Model:
    """Return the body as a model.

    Raises:
        MalformedError: Not JSON, not of the model's shape, or with moments or characters that no
            ledger can keep.
    """
    try:
        value = model.model_validate_json(raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise MalformedError(pydantic_errors=found) from None
    for name, held in value:
        if isinstance(held, datetime) and held.year not in YEARS:
            malformed(name, "moment_out_of_range")
    if MAYBE_UNPRINTABLE.search(raw):
        for name, text in texts_of(value.model_dump()):
            if UNPRINTABLE.search(text):
                malformed(name, "unprintable")
    return value


def texts_of(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text within a value, with the top field it stands in."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for name, held in value.items():
            yield from texts_of(name, field or name)
            yield from texts_of(held, field or name)
    elif isinstance(value, (list, tuple)):
        for held in value:
            yield from texts_of(held, field)


def body_of(model: type[Model]) -> Callable[[Request], Awaitable[Model]]:
    """Return the dependency that reads a route's JSON body; put it after the caller's."""

    async def read(request: Request) -> Model:
        raw = await read_body(request)
        require_json(request)
        return parsed(model, raw)

    return read
