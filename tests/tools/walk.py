"""Walk through the pages as new users would, and count: `python -m tests.tools.walk`.

Starts the whole demo bureau on an empty folder and works in the system's own browser: an
information officer is stopped by a private number, masks it and submits; every tier approves on a
phone; the item stands on the public page; a supervisor finds what is late and urges it. A click
is a press on a button, a link, a box or a choice; typing is not one. Seconds are what the pages
took, from the first page asked for to the last answer seen, without a person's own reading.
"""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, Page, async_playwright

from tests.examples import CHECKLIST
from tests.faults.whole import Tree

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
TITLE = "秋季林草种苗质量抽检工作启动"
NUMBER = "11010519491231002X"
REVIEWERS = (  # who decides on the phone, in their order
    ("afforest_head", "自审"),
    ("editor_a", "编辑与二校"),
    ("deputy_b", "复审"),
    ("center_chief", "终审"),
    ("publisher_a", "三校与发布"),
)


class Hand:
    """A person's hand on a page; it counts what it presses."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    async def press(self, selector: str) -> None:
        self.clicks += 1
        await self.page.click(selector)

    async def choose(self, selector: str, value: str) -> None:
        self.clicks += 1
        await self.page.select_option(selector, value)

    async def sign_in(self, account: dict[str, Any], to: str = "/") -> None:
        await self.page.goto(f"/sign-in?next={to}")
        await self.page.fill('[name="username"]', account["username"])
        await self.page.fill('[name="password"]', account["password"])
        await self.press("main button.primary")
        await self.page.wait_for_url(lambda url: "/sign-in" not in url)


class Walk:
    """One walk, and what each of its stretches came to."""

    def __init__(self, url: str, browser: Browser, accounts: dict[str, Any]) -> None:
        self.url = url
        self._browser = browser
        self._accounts = accounts
        self.item = ""

    async def stretch(self, who: str, what: str, size: Any, deeds: Any, to: str = "/") -> None:
        """Let somebody sign in and do something; print clicks and seconds."""
        context = await self._browser.new_context(viewport=size, base_url=self.url, locale="zh-CN")
        hand = Hand(await context.new_page())
        began = time.perf_counter()
        await hand.sign_in(self._accounts[who], to)
        signed_in, entered = hand.clicks, time.perf_counter()
        await deeds(hand)
        ended = time.perf_counter()
        await context.close()
        print(
            f"{who:15} {what:28} {size['width']:4} px  {hand.clicks - signed_in:2} clicks  "
            f"{ended - entered:4.1f} s  (signing in: {signed_in} click, {entered - began:.1f} s)",
            flush=True,
        )

    async def submit(self, hand: Hand) -> None:
        page = hand.page
        await page.fill("#title", TITLE)
        await page.fill("#body", f"抽检工作启动。联系人证件号{NUMBER}。")
        await hand.press('[name="reposted"][value="no"]')
        await hand.choose('[name="kind"]', "disclosure")
        await hand.press('[name="channels"][value="site"]')
        await hand.press('[name="secrecy_pledge"]')
        await hand.press('[name="proofread"]')
        await hand.press('.bar [value="submit"]')
        await page.wait_for_selector(".refusal")
        assert NUMBER in await page.input_value("#body"), "what was typed is gone"
        await page.fill("#body", "抽检工作启动。")
        await hand.press('.bar [value="submit"]')
        await page.wait_for_selector(".banner")
        self.item = page.url.split("/items/")[1].split("?")[0]

    async def approve(self, hand: Hand, who: str) -> None:
        page = hand.page
        link = f'.row-link[href*="{self.item}"]'
        while not await page.locator(link).count():
            await page.reload()
        await hand.press(link)
        for box in await page.locator('[name="findings_seen"]').all():
            hand.clicks += 1
            await box.check()
        if who == "publisher_a":
            await hand.press('[name="checklist"][value="proof3.site"]')
        await hand.press('.bar [data-verdict="approve"]')
        if who == "afforest_head":
            for key in CHECKLIST:
                await hand.press(f'[name="checklist"][value="{key}"]')
        await hand.press("button.send")
        await page.wait_for_selector(".banner")

    async def read(self) -> float:
        """Wait until everybody can read it; return the seconds."""
        began = time.perf_counter()
        page = await self._browser.new_page(base_url=self.url)
        while TITLE not in await page.inner_text("body"):
            await page.goto("/public/index.html")
        await page.close()
        return time.perf_counter() - began

    async def late(self, who: str) -> None:
        """Wait until something is overdue."""
        headers = {"Authorization": f"Bearer {self._accounts[who]['token']}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as web:
            late = "/api/v1/submissions?overdue=true&limit=1"
            while not (await web.get(late)).json()["items"]:
                await asyncio.sleep(0.5)

    async def urge(self, hand: Hand) -> None:
        page = hand.page
        await hand.press(".tile-late a")
        await page.wait_for_selector(".dense tbody")
        await hand.press('.dense tbody [name="id"] >> nth=0')
        await hand.press('[name="act"][value="urge"], button[value="urge"]')
        await page.fill('[name="reason"]', "请尽快办理")
        await hand.press("main form button.primary, main form button.send")
        await page.wait_for_selector("main [role=status].note")


async def walk(folder: Path) -> None:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        async with whole(folder / "hours", browser) as way:
            await way.stretch(
                "afforest_info1", "stopped, masks, submits", PHONE, way.submit, "/write"
            )
            for who, step in REVIEWERS:
                await way.stretch(who, step, PHONE, lambda hand, who=who: way.approve(hand, who))
            print(f"on the public page {await way.read():.1f} s later", flush=True)
        async with whole(folder / "seconds", browser, "--policy", "demo-seconds") as way:
            await way.late("supervisor_a")
            await way.stretch("supervisor_a", "finds what is late, urges", DESK, way.urge, "/board")
        await browser.close()


@asynccontextmanager
async def whole(data: Path, browser: Browser, *options: str) -> AsyncIterator[Walk]:
    """Start the demo bureau with its samples on an empty folder."""
    data.mkdir(mode=0o700)
    with Tree(data, "--demo", *options) as tree:
        await asyncio.to_thread(tree.start)
        listed = json.loads((data / "demo-accounts.json").read_text(encoding="utf-8"))
        yield Walk(tree.url, browser, {one["username"]: one for one in listed})


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        asyncio.run(walk(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
