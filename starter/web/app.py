"""The web application: one FastAPI over `Reviews`, its error table and its outermost layer."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from review.notice_ways import named_ways
from review.payloads import cipher
from review.records.access import Access
from review.rules.errors import RuleError
from review.settings import Settings, origin_of
from starter.reviews import Reviews
from starter.web import (
    attachments,
    bulletins,
    callbacks,
    codec,
    connections,
    dependencies,
    health,
    hook,
    management,
    oidc,
    outlets,
    pages,
    people,
    public,
    quality,
    reading,
    rehearsals,
    retention,
    session,
    submissions,
    topics,
    ways,
)
from starter.web.edge import Edge
from starter.web.metrics import Metrics
from starter.web.openapi import describe
from starter.web.pages import live, refusals, verify

ROUTERS = (
    submissions.router,
    attachments.router,
    reading.router,
    bulletins.router,
    session.router,
    people.router,
    *management.ROUTERS,
    connections.router,
    outlets.router,
    quality.router,
    rehearsals.router,
    retention.router,
    topics.router,
    ways.router,
    hook.router,
    callbacks.router,
    codec.router,
    health.router,
    public.router,
    *pages.ROUTERS,
)
BODIES = (
    session.Credentials,
    session.FirstCode,
    session.FirstAdministrator,
    people.GrantRequest,
    *connections.BODIES,
    reading.CheckRequest,
    bulletins.BulletinAct,
    bulletins.BulletinItem,
    *management.BODIES,
    *outlets.BODIES,
    rehearsals.Rehearsal,
    retention.RetentionRun,
    *topics.BODIES,
    *ways.BODIES,
)


def create_app(reviews: Reviews, access: Access, settings: Settings) -> FastAPI:
    """Return the application over what the process has built.

    Args:
        reviews: Every act and every read.
        access: Who somebody is, by token, session or OA account.
        settings: For the public address, the data folder, the language and the hook's keys.
    """
    https = settings.public_url.startswith("https://")
    app = FastAPI(
        title="三审 Sanshen",
        version=own_version(),
        description="Review and publishing of government new media: three reviews, three proofs.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.reviews = reviews
    app.state.access = access
    app.state.metrics = Metrics()
    app.state.door = session.Door()
    app.state.oidc = oidc.provider_of(settings)
    app.state.proxies = frozenset(settings.proxies)
    app.state.uploads = attachments.Gauge()
    app.state.verifier = hook.Verifier(hook_keys(settings))
    app.state.named_ways = named_ways(settings)
    app.state.own_ways = settings.own_ways
    app.state.site = settings.data / "site"
    app.state.forms = settings.data / "forms"
    app.state.decision_links = settings.decision_link_hours > 0
    app.state.turned_away = getattr(reviews, "turned_away", None)
    app.state.public_url = settings.public_url
    app.state.opener = cipher(settings.payload_keys_by_id, settings.temporal_namespace)
    app.state.namespace = settings.temporal_namespace
    app.state.codec_origins = frozenset(
        filter(None, (settings.temporal_ui_url, origin_of(settings.public_url)))
    )
    app.state.pulse = live.Pulse(
        lambda: app.state.reviews.latest_entry(), lambda: app.state.stopping()
    )
    app.state.stopping = lambda: False
    app.state.verifying = verify.Counted()
    app.state.temporal_ui = settings.temporal_ui_url
    app.state.language = settings.language
    app.state.https = https

    app.add_exception_handler(RuleError, on_refusal)
    app.add_exception_handler(RequestValidationError, refusals.on_malformed)
    app.add_exception_handler(HTTPException, refusals.on_http_exception)
    for router in ROUTERS:  # as they stand: included, each is built again for each application
        app.router.routes.extend(router.routes)
    app.add_middleware(Edge, metrics=app.state.metrics, https=https, language=settings.language)

    def openapi() -> dict[str, Any]:
        return describe(app, BODIES)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def on_refusal(request: Request, error: Exception) -> Response:
    """Answer a refusal and leave it in the trace."""
    assert isinstance(error, RuleError)
    await dependencies.remember(request, error)
    return await refusals.on_rule_error(request, error)


def hook_keys(settings: Settings) -> Iterable[hook.Key]:
    """Return the hook's keys, unpacked from the settings."""
    return [
        hook.Key.of(key.id, key.secret.get_secret_value(), key.units)
        for key in settings.oa_webhook_keys
    ]


def own_version() -> str:
    try:
        return version("sanshen")
    except PackageNotFoundError:
        return "0"
