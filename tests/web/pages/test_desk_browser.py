"""The board in a real browser: it follows the ledger, and the table opens its panel."""

import re
from typing import Any

from tests.acting import Course
from tests.web.pages.test_browser import address, chromium, page_of, pytestmark

__all__ = ["address", "chromium", "page_of", "pytestmark"]

DESK = {"viewport": {"width": 1440, "height": 900}}


async def test_board_follows_the_ledger_without_being_reloaded(page_of: Any, course: Any) -> None:
    async with page_of("supervisor_a", **DESK) as page:
        await page.goto("/board")
        await page.wait_for_selector("[data-live-word]:visible")
        await page.evaluate("window.stays = true")
        other = Course(course.ledger, "fire_info", title="全省森林防火工作会议今日召开")
        other.turn()
        await page.wait_for_selector("text=全省森林防火工作会议今日召开", timeout=15_000)

        assert await page.evaluate("window.stays") is True
        assert await page.inner_text(".tile-number >> nth=0") == "2"


async def test_panel_opens_beside_the_table_and_closes_by_key(page_of: Any, course: Any) -> None:
    async with page_of("supervisor_a", **DESK) as page:
        await page.goto("/items")
        await page.check("[data-all]")
        assert re.fullmatch(r"\s*1", await page.inner_text("[data-picked]") or "")
        await page.click(".peek-link")
        await page.wait_for_selector("#peek h2")
        assert await page.evaluate("document.activeElement.tagName") == "H2"
        await page.keyboard.press("Escape")

        assert await page.inner_text("#peek") == ""
        assert await page.evaluate("document.activeElement.className") == "peek-link"
