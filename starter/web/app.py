"""The web application: one FastAPI over `Reviews`, its error table and its outermost layer."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from review.records.access import Access
from review.rules.errors import RuleError
from review.settings import Settings
from starter.reviews import Reviews
from starter.web import health, hook, pages, problems, public, reading, session, submissions
from starter.web.edge import Edge
from starter.web.metrics import Metrics
from starter.web.openapi import describe

ROUTERS = (
    submissions.router,
    reading.router,
    session.router,
    hook.router,
    health.router,
    public.router,
    pages.router,
)
BODIES = (session.Credentials, reading.CheckRequest)


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
    app.state.verifier = hook.Verifier(hook_keys(settings))
    app.state.site = settings.data / "site"
    app.state.public_url = settings.public_url
    app.state.language = settings.language
    app.state.https = https

    app.add_exception_handler(RuleError, problems.on_rule_error)
    app.add_exception_handler(RequestValidationError, problems.on_malformed)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    app.add_middleware(Edge, metrics=app.state.metrics, https=https, language=settings.language)

    def openapi() -> dict[str, Any]:
        return describe(app, BODIES)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


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
