"""Is it alive, is it ready, and how does it do."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from starter.web.dependencies import ReviewsDep
from starter.web.metrics import Metrics
from starter.web.openapi import gives, refusals
from starter.web.problems import Answer, language_for, problem

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Answer:
    """Alive: the process answers. Says nothing about what it needs."""
    return Answer({"alive": True})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=refusals(503))
async def readyz(request: Request, reviews: ReviewsDep) -> Answer:
    """Ready: ledger, engine and worker answer; else 503 that names the missing ones."""
    parts = await reviews.readiness()
    missing = {part: lack for part, lack in parts.items() if lack}
    shown = {part: lack or "ok" for part, lack in parts.items()}
    if missing:
        params = {"ready": False, "parts": shown, "missing": sorted(missing)}
        listed = "、".join(sorted(missing))
        return problem(503, "not_ready", language_for(request), params | {"listed": listed})
    return Answer({"ready": True, "parts": shown})


@router.get("/metrics", **gives("text/plain"))
async def metrics(request: Request, reviews: ReviewsDep) -> Response:
    """Counts, times and how things stand for Prometheus; no content, no names."""
    counted: Metrics = request.app.state.metrics
    await counted.ask(reviews.measures)
    return Response(counted.text(), media_type=CONTENT_TYPE_LATEST)
