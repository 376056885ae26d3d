"""A browser's view in tests: the real application over a real ledger, and people signed in."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import Session

from review.records.access import Access, SignedIn, open_session
from review.records.engine import Ledger
from review.records.tables import PersonRow
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.acting import Course

TAG = re.compile(r"<[^>]+>")


class Browser:
    """One person's browser without script."""

    def __init__(self, client: httpx.AsyncClient, csrf: str = "") -> None:
        self.client = client
        self.csrf = csrf

    async def see(self, path: str, status: int = 200) -> str:
        """Return a page, the redirects on the way followed."""
        answer = await self.client.get(path, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return answer.text

    async def send(self, path: str, *, script: bool = False, **fields: object) -> httpx.Response:
        """Send a form with its hidden token."""
        headers = {"HX-Request": "true"} if script else {}
        return await self.client.post(path, data={"csrf": self.csrf} | fields, headers=headers)

    async def decide(
        self, submission_id: str, *, script: bool = False, **fields: object
    ) -> httpx.Response:
        """Send the decision form of an item's page as it stands there, with what is typed."""
        page = await self.see(f"/items/{submission_id}")
        hidden = hidden_of(page, "decision") | fields
        return await self.send(f"/items/{submission_id}/decisions", script=script, **hidden)


def hidden_of(page: str, form: str) -> dict[str, str]:
    """Return the hidden fields of a form."""
    inside = re.search(rf'<form id="{form}".*?</form>', page, re.DOTALL)
    assert inside, page
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', inside[0]))


def words_of(page: str) -> str:
    """Return what a reader sees, on one line."""
    return " ".join(TAG.sub(" ", page).split())


@pytest.fixture
def course(quick_ledger: Ledger) -> Course:
    """A submission whose unit's head is asked."""
    found = Course(quick_ledger)
    found.turn()
    return found


@pytest.fixture
def app(quick_ledger: Ledger, course: Course, tmp_path: Path) -> FastAPI:
    """The application, its clock a minute after the course's."""

    def now() -> datetime:
        return course.now + timedelta(minutes=1)

    settings = Settings(
        data=tmp_path, secret_key="s" * 32, public_url="http://test", _env_file=None
    )
    return create_app(
        Reviews(quick_ledger, None, clock=now), Access(quick_ledger, clock=now), settings
    )


@pytest.fixture
def signed_in(quick_ledger: Ledger, course: Course) -> Callable[[str], SignedIn]:
    """A function that opens the session of a person, without the slow password."""

    def of(person: str) -> SignedIn:
        def open_for(session: Session) -> SignedIn | None:
            row = session.get_one(PersonRow, person)
            return open_session(session, person, row.password_hash, course.now, second_factor=True)

        found = quick_ledger.write(open_for)
        assert found is not None, person
        return found

    return of


@pytest.fixture
async def browser(
    app: FastAPI, signed_in: Callable[[str], SignedIn]
) -> AsyncIterator[Callable[..., Browser]]:
    """A function that opens the browser of a person, or of nobody."""
    opened: list[httpx.AsyncClient] = []

    def of(person: str = "") -> Browser:
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://test",
            headers={"Accept": "text/html"},
        )
        opened.append(client)
        if not person:
            return Browser(client)
        session = signed_in(person)
        client.cookies.set("sanshen_session", session.secret)
        return Browser(client, session.csrf)

    yield of
    for client in opened:
        await client.aclose()
