"""Scripts in every field, looked at in a real browser: none runs, none even becomes markup.

The browser is told to ignore the content security policy, so that escaping alone has to hold; a
second look, with the policy, hears what it would have had to stop.
"""

import csv
import io
import re
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import httpx
import pytest
import uvicorn
from sqlmodel import select

from activities.letters import Letters
from activities.notify import told_of
from review.records.tables import Notice
from tests.attack_http.place import NOBODY, Place
from tests.attack_http.scripts import (
    BOXED,
    EMPTY,
    FORMS,
    LOOK,
    PAGES,
    PAYLOADS,
    RAN,
    SEND,
    SENTINEL,
    TEXT,
    Laid,
    each_field,
    lay,
)
from tests.conftest import missing

try:
    from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
except ImportError:
    missing("Playwright")

SAMPLE, LEAST = 2, 100  # decks a day; payloads that there must be
# No name is found but this machine's; to stop each request here instead would switch the cache off.
ALONE = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
FEED = ("{http://www.w3.org/2005/Atom}", "{urn:x-sanshen:feed}")
TAGS = re.compile(r"</?([A-Za-z][^\s>/]*)")
HEADERS = {
    "Auto-Submitted", "Content-Type", "MIME-Version", "Content-Transfer-Encoding", "Message-ID",
    "In-Reply-To", "References", "From", "To", "Subject",
}  # fmt: skip


@pytest.fixture
def address(place: Place) -> Iterator[str]:
    """The application on a free port, served beside the test's own thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(place.app, lifespan="off", log_config=None, ws="none", loop="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ALONE)
        yield browser
        browser.close()


class Watch:
    """People's browsers, and all that was seen in them."""

    def __init__(self, place: Place, chromium: Browser, address: str) -> None:
        self.place, self.address = place, address
        self._chromium = chromium
        self._pages: dict[bool, Page] = {}
        self._whose: dict[bool, str] = {}
        self.heard: list[str] = []
        self.wrong: list[str] = []
        self.shown: Counter[str] = Counter()

    def page_of(self, person: str, strict: bool) -> Page:
        """Return the page, as a person's now; `strict` tells whether it heeds the policy.

        One page serves everybody: only the session in it changes, which is cheaper by far than a
        browser's process a person.
        """
        if strict not in self._pages:
            self._pages[strict] = self._watched(
                self._chromium.new_context(base_url=self.address, bypass_csp=not strict)
            )
        context = self._pages[strict].context
        if self._whose.get(strict) != person:
            self._whose[strict] = person
            context.clear_cookies()
            if person != NOBODY:
                secret, _ = self.place.sessions[person]
                context.add_cookies(
                    [{"name": "sanshen_session", "value": secret, "url": self.address}]
                )
        return self._pages[strict]

    def _watched(self, context: BrowserContext) -> Page:
        context.add_init_script(SENTINEL)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.on("console", lambda said: self._hear(said.text))
        page.on("dialog", lambda dialog: (self.heard.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: self._loaded(request.url))
        return page

    def _hear(self, said: str) -> None:
        if RAN in said or "Content Security Policy" in said:
            self.heard.append(said[:200])

    def _loaded(self, url: str) -> None:
        if urlsplit(url).scheme in ("http", "https") and not url.startswith(self.address):
            self.heard.append(f"loads {url[:120]}")

    def look(self, page: Page, where: str, strict: bool = False) -> None:
        """Look at what is shown; under the policy only listen, for a boxed page tells nothing."""
        self.shown[where] += 1
        found: list[str] = []
        try:
            found += [] if strict else page.evaluate(LOOK)
        except Error as error:
            found.append(f"left by itself: {error}")
        found += self.heard
        self.heard.clear()
        self.wrong += [f"{where}: {one}" for one in found]

    def walk(self, laid: Laid, strict: bool) -> None:
        """Look at every page of an item, and at every form that comes back."""
        item = laid._asdict()
        for name, (person, path) in PAGES.items():
            page = self.page_of(person, strict)
            typed = laid.deck.deal(f"{name}: address") if "{typed}" in path else ""
            answer = page.goto(path.format(**item, typed=quote(typed, safe="")))
            assert answer is not None and answer.status < 500, name
            if not typed:
                assert answer.status == 200, (name, answer.status)
            if name in BOXED and not strict:  # where no script may run, none can look around either
                content = answer.text()
                page.goto(EMPTY)
                page.set_content(content)
            self.look(page, name, strict)
        for name, (person, path, fields, beside) in FORMS.items():
            page = self.page_of(person, strict)
            csrf = {} if person == NOBODY else {"csrf": self.place.sessions[person][1]}
            sent = {n: v.format(**item) for n, v in beside.items()}
            sent |= {field: laid.deck.deal(f"{name}: {field}", TEXT) for field in fields}
            page.goto(EMPTY)
            with page.expect_navigation():
                page.evaluate(SEND, [path.format(**item), csrf | sent, False])
            self.look(page, name, strict)

    def close(self) -> None:
        for page in self._pages.values():
            page.context.close()


@contextmanager
def watching(place: Place, chromium: Browser, address: str) -> Iterator[Watch]:
    watch = Watch(place, chromium, address)
    yield watch
    watch.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    "decks",
    [SAMPLE, pytest.param(len(PAYLOADS), marks=pytest.mark.long)],
    ids=["sample", "whole"],
)
def test_no_script_runs_and_none_becomes_markup(place, address, chromium, capsys, decks):
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= LEAST
    step = len(PAYLOADS) // decks
    typed: set[str] = set()
    fields: set[str] = set()
    tried = 0
    with (
        httpx.Client(base_url=address, trust_env=False) as client,
        watching(place, chromium, address) as watch,
    ):
        for number in range(decks):
            laid = lay(place, client, number * step)
            # the policy is heeded in the last deck of a sample, and in every fourth of the whole
            watch.walk(laid, strict=number % 4 == min(3, decks - 1))
            typed |= set(laid.deck.dealt.values())
            tried += len(laid.deck.dealt)
            fields = set(laid.deck.dealt)
            watch.wrong += beside_the_browser(place, client, laid)
            if watch.wrong:
                break
    with capsys.disabled():
        print(
            f"\nscripts: {len(typed)} of {len(PAYLOADS)} payloads, {len(fields)} fields,"
            f" {tried} pairs of them, {len(watch.shown)} places,"
            f" {watch.shown.total()} pages looked at"
        )

    assert not watch.wrong, "\n".join(watch.wrong[:40])
    assert fields >= set(each_field())
    assert set(watch.shown) == set(PAGES) | set(FORMS)


def beside_the_browser(place: Place, client: httpx.Client, laid: Laid) -> list[str]:
    """Return what is wrong with what no browser shows: table, file and letters."""
    wrong = []
    answer = client.get("/items.csv", headers=place.cookie("deputy_b"))
    for row in csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))):
        wrong += [f"csv: {cell}" for cell in row if cell.lstrip()[:1] in tuple("=+-@")]
    feed = ElementTree.fromstring(client.get("/public/feed.atom").content)
    wrong += [f"feed: {one.tag}" for one in feed.iter() if not one.tag.startswith(FEED)]
    file = client.get(f"/api/v1/attachments/{laid.attachment}", headers=place.bearer("deputy_b"))
    if not file.headers["content-disposition"].startswith("attachment; filename*=UTF-8''"):
        wrong.append("file: shown, not handed over")
    if "'" in file.headers["content-disposition"].partition("''")[2]:
        wrong.append("file: a name out of its bounds")
    if (
        file.headers["content-type"].split(";")[0] == "text/html"
        or file.headers["x-content-type-options"] != "nosniff"
    ):
        wrong.append("file: a page")
    return wrong + letters(place, laid)


def letters(place: Place, laid: Laid) -> list[str]:
    """Return what is wrong with the letters about an item: plain text, and no header of others."""
    writer = Letters(place.app.state.public_url, "sanshen@localhost")
    with place.ledger.reading() as session:
        found = session.exec(select(Notice).where(Notice.submission_id == laid.id)).all()
        told = told_of(session, found)
    written: list[Any] = [writer.one(one, None, place.clock()) for one in told]
    wrong = [] if written else ["letters: none"]
    if len(told) > 1:
        written.append(writer.digest(told, None, place.clock()))
    for letter in written:
        if set(letter.keys()) - HEADERS or len(letter.keys()) != len(set(letter.keys())):
            wrong.append(f"letter: headers {letter.keys()}")
        parts = [one.get_content_type() for one in letter.get_payload()]
        if parts != ["text/plain", "text/html"]:
            wrong.append(f"letter: parts {parts}")
        page = letter.get_payload()[1].get_payload(decode=True).decode()
        if tags := set(TAGS.findall(page)) - {"p", "a"}:
            wrong.append(f"letter: tags {tags}")
    return wrong


@pytest.mark.browser
@pytest.mark.parametrize(
    "every", [9, pytest.param(1, marks=pytest.mark.long)], ids=["sample", "whole"]
)
def test_the_watch_sees_scripts_that_are_not_escaped(place, address, chromium, capsys, every):
    """What the other test relies on: unescaped, most payloads are seen; the rest are no markup."""
    seen, tried = 0, PAYLOADS[::every]
    with watching(place, chromium, address) as watch:
        page = watch.page_of(NOBODY, strict=False)
        for payload in tried:
            page.goto(EMPTY)
            page.set_content(f'<p title="{payload}">{payload}</p>', wait_until="commit")
            watch.look(page, "unescaped")
            seen += bool(watch.wrong)
            watch.wrong.clear()
    with capsys.disabled():
        print(f"\nscripts unescaped: {seen} of {len(tried)} payloads seen")

    assert seen >= len(tried) * 0.6
