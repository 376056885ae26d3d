"""Styles and scripts under names that hold their content's hash, so that they are kept for ever."""

import gzip
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.responses import Response

from review.rules.errors import NotFoundError

STATIC = Path(__file__).parent.parent / "static"
FOR_EVER = "public, max-age=31536000, immutable"  # a year is the longest that HTTP knows
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

router = APIRouter(include_in_schema=False)


class Asset(NamedTuple):
    """One file as it is sent."""

    path: str
    media_type: str
    content: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """Return every file by its plain name, read once."""
    found = {}
    for file in sorted(STATIC.rglob("*")):
        if file.suffix not in MEDIA_TYPES:
            continue
        name, content = file.relative_to(STATIC).as_posix(), file.read_bytes()
        stem, digest = name.removesuffix(file.suffix), sha256(content).hexdigest()[:12]
        found[name] = Asset(
            path=f"{stem}.{digest}{file.suffix}",
            media_type=MEDIA_TYPES[file.suffix],
            content=content,
            packed=gzip.compress(content, mtime=0),
        )
    return found


@cache
def by_path() -> dict[str, Asset]:
    return {asset.path: asset for asset in assets().values()}


def address(name: str) -> str:
    """Return where a file is found, with its hash in the name."""
    return f"/static/{assets()[name].path}"


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(request: Request, path: str) -> Response:
    """Serve one file; an old hash is not there any more."""
    asset = by_path().get(path)
    if asset is None:
        raise NotFoundError
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    content = asset.content
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"], content = "gzip", asset.packed
    return Response(content, headers=headers, media_type=asset.media_type)
