"""The pages in a real browser: a phone with script and without, and a line that breaks."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from tests.acting import Course
from tests.conftest import missing
from tests.examples import CHECKLIST, who
from tests.uploads.files import a_picture

try:
    from playwright.async_api import Browser, Page, async_playwright
except ImportError:
    missing("Playwright")

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
WIDTHS = (390, 768, 1440)
OPINION = "写了很久的意见"
WIDTH_ONCE_LOADED = """one => new Promise((told, no) => {
  if (one.complete) return one.naturalWidth ? told(one.naturalWidth) : no("no picture");
  one.onload = () => told(one.naturalWidth); one.onerror = () => no("no picture");
})"""


class Quiet(uvicorn.Server):
    """A server that leaves the test's signals alone."""

    @asynccontextmanager
    async def running(self, listening: socket.socket) -> AsyncIterator[str]:
        task = asyncio.create_task(self._serve([listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            self.should_exit = True
            await task


@pytest.fixture
async def address(app: FastAPI) -> AsyncIterator[str]:
    """The application on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Quiet(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
        async with server.running(listening) as found:
            yield found


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
def page_of(chromium: Browser, address: str, signed_in: Callable[[str], Any]) -> Any:
    """A function that opens a person's page; what the browser complains of fails the test."""

    @asynccontextmanager
    async def of(person: str, **options: Any) -> AsyncIterator[Page]:
        context = await chromium.new_context(**({"viewport": PHONE} | options), base_url=address)
        await context.add_cookies(
            [{"name": "sanshen_session", "value": signed_in(person).secret, "url": address}]
        )
        page = await context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text)
                if said.type == "error" and "Security Policy" in said.text
                else None
            ),
        )
        yield page
        await context.close()
        assert not complaints

    return of


def decisions(course: Any) -> list[Any]:
    return list(course.item(lambda item: item.decisions))


async def tick_all(page: Page) -> None:
    for key in CHECKLIST:
        await page.check(f'[name="checklist"][value="{key}"]')


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
async def test_head_of_unit_approves_on_a_phone(page_of, course, script):
    async with page_of("afforest_head", java_script_enabled=script) as page:
        await page.goto("/")
        await page.click(".row-link")
        await page.click('.bar [data-verdict="approve"]')
        await tick_all(page)
        await page.fill("#opinion", OPINION)
        await page.click("button.send")
        await page.wait_for_selector(".banner")

        assert "已在自审环节作出意见：同意。" in await page.inner_text(".banner")
    (decision,) = decisions(course)
    assert (decision.verdict, decision.opinion) == ("approve", OPINION)


async def test_lost_connection_loses_neither_the_opinion_nor_the_decision(page_of, course):
    """The answer is lost after the decision was taken; pressing again counts once."""
    async with page_of("afforest_head") as page:
        await page.goto(f"/items/{course.id}")
        await page.click('.bar [data-verdict="approve"]')
        await tick_all(page)
        await page.fill("#opinion", OPINION)

        async def lose_the_answer(route: Any) -> None:
            with suppress(Exception):
                await route.fetch(max_redirects=0)
            await route.abort("connectionreset")

        await page.route("**/decisions", lose_the_answer)
        await page.click("button.send")
        await page.wait_for_selector("[data-retry]:visible")
        kept = await page.input_value("#opinion")
        taken = len(decisions(course))
        await page.unroute("**/decisions")
        await page.click("button.send")
        await page.wait_for_selector(".banner")

    assert (kept, taken) == (OPINION, 1)
    assert len(decisions(course)) == 1


async def test_two_on_one_item_the_second_sees_the_change_and_keeps_the_opinion(page_of, course):
    course.run("edit_proof2")
    async with page_of("editor_b") as page:
        await page.goto(f"/items/{course.id}")
        await page.click('.bar [data-verdict="approve"]')
        await page.fill("#opinion", OPINION)
        course.edit(
            "editor_a",
            body="11月18日，全省现场推进会召开。3个市作了交流发言。",
            change="wording",
        )
        await page.click("button.send")
        await page.wait_for_selector(".moved")

        assert "内容已更新，先看改动" in await page.inner_text("#decide")
        assert await page.input_value("#opinion") == OPINION
        await page.click("button.send")
        await page.wait_for_selector(".banner")
    assert decisions(course)[-1].digest == course.row().digest


async def test_verdict_can_change_without_losing_the_opinion(page_of, course):
    async with page_of("afforest_head") as page:
        await page.goto(f"/items/{course.id}")
        await page.click('.bar [data-verdict="approve"]')
        await page.fill("#opinion", OPINION)
        await page.check('[name="verdict"][value="return"]')

        assert await page.is_visible('[name="reason_code"]')
        assert not await page.is_visible('[name="checklist"] >> nth=0')
        assert await page.input_value("#opinion") == OPINION


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_nothing_sticks_out_and_targets_are_large(page_of, course, width, language):
    async with page_of("afforest_head", viewport={"width": width, "height": 900}) as page:
        for path in ("/", f"/items/{course.id}", f"/items/{course.id}?verdict=return#decide"):
            await page.goto(f"{path}{'&' if '?' in path.split('#')[0] else '?'}lang={language}")
            sticks_out = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            small = await page.evaluate(
                """[...document.querySelectorAll("button, .button, .row-link, .tabs a, select")]
                .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5)
                .map(e => e.outerHTML.slice(0, 80))"""
            )

            assert sticks_out <= 0, path
            assert small == [], path


async def test_third_proof_sees_the_pictures_where_the_public_will(page_of, app, course):
    """A-3, R3.1-1: in the boxed preview, in a window of its own, and for nobody else."""
    with course.ledger.reading() as session:
        author = who(session, "afforest_info", course.now)
    taken = await app.state.reviews.attach(
        author, "会场.png", a_picture("PNG", (40, 30)), key=None, way_in="api"
    )
    shown = Course(course.ledger, now=course.now, attachments=[{"id": taken["id"]}])
    shown.turn()
    own = f"/items/{shown.id}/preview/site"

    async with page_of("afforest_head") as page:
        await page.goto(f"/items/{shown.id}")
        frame = page.frame_locator("iframe").first
        await page.locator("details.channel summary").first.click()
        assert await frame.locator("img").evaluate(WIDTH_ONCE_LOADED) == 40
        await page.goto(own)
        assert await page.locator("img").evaluate(WIDTH_ONCE_LOADED) == 40
        source = await page.locator("img").evaluate("one => one.src")
        assert (await page.request.get(source)).headers["content-type"] == "image/png"
        other = source.replace(shown.id, course.id)  # whose text shows no such picture
        assert (await page.request.get(other)).status == 404
    async with page_of("fire_head") as page:
        assert (await page.request.get(source)).status == 404
