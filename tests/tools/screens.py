"""Take the pictures of the READMEs anew: `python -m tests.tools.screens`.

The demo bureau with its samples, each brought a little further than the one before, in the
system's own browser. Every picture is kept small enough for a page on a bad line.
"""

import asyncio
import io
import shutil
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright
from sqlmodel import Session, col, select

from review.acts import deciding, turning
from review.acts.adopting import adopt_calendar, adopt_policy
from review.acts.lists import adopt_first_lists
from review.ids import new_id
from review.packs import builtin_calendar, builtin_pack, load_calendar, load_pack
from review.records.access import Access, open_session
from review.records.engine import Ledger, upgrade
from review.records.people import load_person
from review.records.tables import PersonRow, StepPerson, Submission
from review.requests import DecisionRequest
from review.rules.errors import RuleError
from review.settings import Settings
from starter.demo.bureau import fill
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.acting import warnings_of
from tests.examples import CHECKLIST

SCREENS = Path(__file__).parents[2] / "docs" / "screens"
LARGEST = 150_000  # bytes
COLOURS = 64
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
LATER = timedelta(hours=4)  # so that some steps are overdue


def filled(folder: Path) -> Ledger:
    """Return a ledger with the demo bureau and its samples on their way."""
    now, url = datetime.now(UTC), f"sqlite:///{folder / 'ledger.db'}"
    upgrade(url)
    ledger = Ledger(url)
    ledger.write(lambda s: adopt_policy(s, load_pack(builtin_pack("hebei-lcj-2022-35")), now))
    ledger.write(lambda s: adopt_calendar(s, load_calendar(builtin_calendar()), now))
    ledger.write(lambda s: adopt_first_lists(s, now))
    fill(url, folder, with_samples=True)
    now = datetime.now(UTC)
    with ledger.reading() as session:
        ids = list(session.exec(select(Submission.id).order_by(col(Submission.id))))
    for place, submission in enumerate(ids):
        for _ in range(place % 6):
            approve(ledger, submission, now)
    for submission in ids:
        ledger.write(lambda s, i=submission: turning.advance(s, i, now + LATER))
    return ledger


def approve(ledger: Ledger, submission: str, now: datetime) -> None:
    """Let somebody who is asked approve each open step; a refusal leaves it open."""
    position = ledger.write(lambda s: turning.advance(s, submission, now))
    for step in position.open_steps:

        def act(session: Session, step: Any = step) -> None:
            row = session.get_one(Submission, submission)
            asked = session.exec(
                select(StepPerson.person_id)
                .where(StepPerson.submission_id == submission)
                .where(col(StepPerson.active).is_(True))
            ).first()
            person = load_person(session, asked, now) if asked else None
            if person is None:
                return
            given = {
                "step": step.step, "unit": step.unit or None, "verdict": "approve",
                "digest": row.digest, "findings_seen": warnings_of(ledger, submission),
                "checklist": CHECKLIST if step.step == "unit_review" else {}, "opinion": "同意。",
            }  # fmt: skip
            request = DecisionRequest.model_validate(given)
            deciding.decide(
                session, person, submission, request, decision_id=new_id(), way_in="page", now=now
            )

        try:
            ledger.write(act)
        except RuleError:
            return
    ledger.write(lambda s: turning.advance(s, submission, now))


def kept(picture: bytes, name: str) -> None:
    """Keep a picture with few colours; text on plain ground loses nothing by it."""
    packed = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(packed, "PNG", optimize=1)
    assert packed.tell() < LARGEST, (name, packed.tell())
    SCREENS.mkdir(exist_ok=True)
    (SCREENS / f"{name}.png").write_bytes(packed.getvalue())


async def page_of(browser: Browser, ledger: Ledger, url: str, username: str, size: Any) -> Page:
    """Open a browser for somebody of the bureau."""

    def open_for(session: Session) -> Any:
        row = session.exec(select(PersonRow).where(PersonRow.username == username)).one()
        now = datetime.now(UTC) + LATER
        return open_session(session, row.id, row.password_hash, now, second_factor=True)

    context = await browser.new_context(viewport=size, base_url=url, locale="zh-CN")
    secret = ledger.write(open_for).secret
    await context.add_cookies([{"name": "sanshen_session", "value": secret, "url": url}])
    return await context.new_page()


async def taken(ledger: Ledger, url: str, browser: Browser) -> None:
    """Take the six pictures."""

    async def shown(username: str, size: Any, path: str) -> Page:
        page = await page_of(browser, ledger, url, username, size)
        await page.goto(path)
        return page

    async def keep(page: Page, name: str) -> None:
        await page.wait_for_timeout(300)
        kept(await page.screenshot(), name)

    page = await shown("afforest_head", PHONE, "/")
    await keep(page, "inbox-phone")
    await page.click(".row-link")
    await page.click('.bar [data-verdict="approve"]')
    await keep(page, "decide-phone")
    page = await shown("afforest_info1", DESK, "/write")
    await page.fill("#title", "全省秋季林草种苗质量抽检工作启动")
    await page.fill("#body", "11月18日，抽检工作启动。联系人证件号11010519491231002X。")
    await page.check('[name="reposted"][value="no"]')
    await page.wait_for_selector("#look[data-saved=no]")
    await page.evaluate("document.activeElement.blur(); scrollTo({top: 0, behavior: 'instant'})")
    await keep(page, "write-desk")
    page = await shown("supervisor_a", DESK, "/board")
    await keep(page, "board-desk")
    await page.goto("/items?show=overdue")
    await page.click(".dense .title a")
    course = page.url.split("?")[0].removesuffix("/course") + "/course"
    await page.goto(course)
    await keep(page, "course-desk")
    await page.goto("/rules?lang=en")
    await keep(page, "rules-desk-en")


async def main() -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listening:
        ledger = filled(Path(name))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = Settings(data=Path(name), secret_key="s" * 32, public_url=url, _env_file=None)  # type: ignore[call-arg]

        def clock() -> datetime:
            return datetime.now(UTC) + LATER

        app = create_app(Reviews(ledger, None, clock=clock), Access(ledger, clock=clock), settings)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
        serving = asyncio.create_task(server.serve([listening]))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            await taken(ledger, url, browser)
            await browser.close()
        server.should_exit = True
        await serving
        ledger.close()


if __name__ == "__main__":
    asyncio.run(main())
