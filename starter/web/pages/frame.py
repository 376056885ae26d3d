"""How a page or a fragment of one is put together, and where a form leads on to."""

import gzip
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.responses import HTMLResponse, RedirectResponse, Response

from review.acts.reading import OVERSEERS
from review.ids import new_id
from review.texts import text
from starter.web.pages import assets, shape
from starter.web.pages.visitors import Visitor, by_htmx, language_of_page
from starter.web.pages.words import N_, messages

TEMPLATES = Path(__file__).parent.parent / "templates"
WORTH_PACKING = 1_000  # bytes
MANAGED = tuple(sorted(OVERSEERS | {"info_officer", "unit_head"}))  # orders, incidents, cases
SENDERS = ("publisher", "channel_operator", "center_editor", "center_deputy", "center_chief")


class Place(NamedTuple):
    """An entry of the navigation; no roles means everybody who is signed in."""

    path: str
    label: str  # a message
    roles: tuple[str, ...] = ()


NAVIGATION: list[Place] = [
    Place("/", N_("待办")),
    Place("/write", N_("写稿"), ("info_officer",)),
    Place("/publishing", N_("发布"), SENDERS),
    Place("/board", N_("督办台"), tuple(sorted(OVERSEERS))),
    Place("/items", N_("全部稿件"), tuple(sorted(OVERSEERS))),
    Place("/orders", N_("督办与事件"), MANAGED),
    Place("/statistics", N_("统计"), tuple(sorted(OVERSEERS))),
    Place("/bulletins", N_("通报"), tuple(sorted(OVERSEERS))),
    Place("/rules", N_("规则")),
    Place("/delegations", N_("委托")),
    Place("/admin", N_("管理"), ("security_admin", "sysadmin", "auditor")),
]
EVERYBODY_ELSE = (Place("/public/", N_("已发布")), Place("/verify", N_("核对发布文本")))


@cache
def environment(language: str) -> Environment:
    """Return the templates of one language; every value is escaped, every name must be given."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    found.install_gettext_translations(messages(language), newstyle=True)  # type: ignore[attr-defined]
    found.globals |= {
        "asset": assets.address,
        "language": language,
        "new_id": new_id,
        "t": _texts(language),
        "urgency": shape.urgency,
    }
    found.filters["first_up"] = shape.first_up
    found.filters["lasting"] = partial(shape.length, language=language)
    for name in ("moment", "left", "people"):
        found.filters[name] = partial(getattr(shape, name), language=language)
    return found


def _texts(language: str) -> Any:
    @pass_context
    def t(_context: Context, code: str, /, **params: Any) -> str:
        return text(code, language, **params)

    return t


def rendered(
    request: Request,
    template: str,
    visitor: Visitor | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Return a page, or with a template whose name begins with `_` a fragment."""
    language = language_of_page(request)
    places = EVERYBODY_ELSE if visitor is None else NAVIGATION
    page = (
        environment(language)
        .get_template(template)
        .render(
            here=request.url.path,
            address=address_of(request),
            visitor=visitor,
            csrf=visitor.csrf if visitor else "",
            navigation=[p for p in places if not p.roles or (visitor and visitor.has(*p.roles))],
            **values,
        )
    )
    content = page.encode()
    sent = {"Content-Language": language, "Vary": "Cookie, Accept-Encoding"} | dict(headers or {})
    if len(content) > WORTH_PACKING and may_pack(request):
        sent["Content-Encoding"], content = "gzip", gzip.compress(content, 5, mtime=0)
    return HTMLResponse(content, status, sent)


def may_pack(request: Request) -> bool:
    """Tell whether a page may be packed: not one that another site had opened.

    Over https a packed page's length tells whether an address that another site chose resembles
    something secret in it. Without encryption there is nothing to guess, and browsers say nothing.
    """
    unsaid = "cross-site" if request.app.state.https else "none"
    site = request.headers.get("sec-fetch-site", unsaid)
    return site != "cross-site" and "gzip" in request.headers.get("accept-encoding", "")


def address_of(request: Request) -> str:
    """Return the path and query that were asked for."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def go(request: Request, path: str) -> Response:
    """Lead on after a form: a redirect to read, or with script the same by its header."""
    if by_htmx(request):
        return Response(status_code=204, headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)


def sign_in_address(request: Request) -> str:
    """Return the sign-in page that leads back here."""
    if request.method == "GET":
        back = request.headers.get("hx-current-url", "") if by_htmx(request) else ""
        if not back:
            return f"/sign-in?next={quote(address_of(request))}"
    return "/sign-in"
