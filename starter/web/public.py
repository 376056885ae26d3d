"""The embedded channel: the published site, served from DATA/site and from nowhere else."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from review.rules.errors import NotFoundError
from review.texts import text
from starter.web.pages.frame import rendered

router = APIRouter(prefix="/public", include_in_schema=False)

INDEX = "index.html"
FEED = "feed.atom"
CHUNK = 256 * 1024  # bytes
# What a browser may show; anything else is handed over as a file.
MEDIA_TYPES = {
    ".atom": "application/atom+xml; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".xml": "application/xml; charset=utf-8",
}
EMPTY_FEED = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><id>{url}/public/feed.atom</id><title>{title}</title>
<updated>1970-01-01T00:00:00Z</updated><link rel="self" href="{url}/public/feed.atom"/></feed>
"""


def opened(site: Path, path: str) -> tuple[BinaryIO, os.stat_result, str]:
    """Open a file of the site.

    Nothing that begins with a dot is shown, so neither is what a publication is still writing.

    Raises:
        NotFoundError: It is not there, not a plain file, or leads out of the site.
    """
    parts = [part for part in path.split("/") if part]
    if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        raise NotFoundError
    root = site.resolve()
    try:
        found = root.joinpath(*parts).resolve()
        if found.is_dir():
            found = (found / INDEX).resolve()
        if not found.is_relative_to(root):
            raise NotFoundError
        file = found.open("rb")
    except (OSError, RuntimeError, ValueError):
        raise NotFoundError from None
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise NotFoundError
    return file, status, found.suffix.lower()


async def chunks_of(file: BinaryIO) -> AsyncIterator[bytes]:
    """Yield an open file; whatever replaces it meanwhile, this is the one that was asked for."""
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk
    finally:
        file.close()


@router.api_route("", methods=["GET", "HEAD"])
async def public_root() -> Response:
    """Lead to the site's first page."""
    return RedirectResponse("/public/", 308)


@router.api_route("/{path:path}", methods=["GET", "HEAD"])
async def public_file(request: Request, path: str) -> Response:
    """Serve one file of the published site; a page taken back is gone at once."""
    site: Path = request.app.state.site
    try:
        file, status, suffix = await asyncio.to_thread(opened, site, path)
    except NotFoundError:
        if path in ("", INDEX):
            return rendered(request, "empty_site.html")
        if path == FEED:
            feed = EMPTY_FEED.format(
                url=request.app.state.public_url, title=text("web.site_title", "zh")
            )
            return Response(feed, media_type="application/atom+xml")
        raise
    etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if request.headers.get("if-none-match") == etag:
        file.close()
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(status.st_size)
    if suffix not in MEDIA_TYPES:
        headers["Content-Disposition"] = "attachment"
    media_type = MEDIA_TYPES.get(suffix, "application/octet-stream")
    if request.method == "HEAD":
        file.close()
        return Response(headers=headers, media_type=media_type)
    return StreamingResponse(chunks_of(file), headers=headers, media_type=media_type)
