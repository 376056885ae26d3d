"""The real application over a real ledger, with a clock that stands until it is moved."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from review.records import access
from review.records.access import Access
from review.records.engine import Ledger
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.examples import MONDAY
from tests.records.test_access import PASSWORD, QUICK, Clock

SECRET_KEY = "s" * 48


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_app(quick_ledger: Ledger, clock: Clock, tmp_path: Path) -> Callable[..., FastAPI]:
    """A function that builds the application with settings of the test's own."""

    def make(**settings: Any) -> FastAPI:
        given: dict[str, Any] = {"data": tmp_path, "secret_key": SECRET_KEY, "_env_file": None}
        given["public_url"] = "http://test"
        secret = SECRET_KEY.encode()
        return create_app(
            Reviews(quick_ledger, None, clock=clock, secret=secret),
            Access(quick_ledger, clock=clock, hasher=QUICK, secret=secret),
            Settings(**given | settings),
        )

    return make


@pytest.fixture
def passwords(quick_ledger: Ledger) -> None:
    """Everybody these tests sign in as has a password."""
    for person in ("chief", "bureau_chief", "security", "fire_head", "leader_prot"):
        quick_ledger.write(
            lambda s, p=person: access.set_password(s, p, PASSWORD, MONDAY, hasher=QUICK)
        )


@pytest.fixture
async def client(
    make_app: Callable[..., FastAPI], passwords: None
) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(make_app()) as found:
        yield found


def browser(app: FastAPI, address: str = "192.0.2.9") -> httpx.AsyncClient:
    """Return a browser at an address."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(address, 1234)), base_url="http://test"
    )
