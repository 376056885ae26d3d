"""Axe looks at every page in a real browser: nothing serious, in any language or size."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.conftest import missing
from tests.web.pages.everywhere import Seen, tour
from tests.web.pages.test_browser import PHONE, address, chromium, pytestmark

try:
    from axe_playwright_python.async_playwright import Axe
except ImportError:
    missing("axe")

__all__ = ["address", "chromium", "pytestmark"]

DESK = {"width": 1440, "height": 900}
LOOKS = [(language, size) for language in ("zh", "en") for size in (PHONE, DESK)]
GRAVE = ("serious", "critical")
FIT = "Math.max(0, document.documentElement.scrollWidth - innerWidth)"


async def looked_at(
    chromium: Any, address: str, signed_in: Callable[[str], Any],
    chosen: Iterable[tuple[Seen, str, dict[str, int]]],
) -> list[str]:  # fmt: skip
    """Return what axe holds against pages, and those wider than their screen."""
    found = []
    contexts: dict[str, Any] = {}
    pages: dict[str, Any] = {}
    for one, language, size in chosen:
        if one.person not in contexts:
            context = contexts[one.person] = await chromium.new_context(base_url=address)
            if one.person:
                secret = signed_in(one.person).secret
                await context.add_cookies(
                    [{"name": "sanshen_session", "value": secret, "url": address}]
                )
            pages[one.person] = await context.new_page()
        page = pages[one.person]
        await contexts[one.person].add_cookies(
            [{"name": "sanshen_language", "value": language, "url": address}]
        )
        await page.set_viewport_size(size)
        await page.goto(one.path)
        where = f"{one.person or 'nobody'} {one.path} {language} {size['width']}"
        if too_wide := await page.evaluate(FIT):
            found.append(f"{where}: {too_wide} px too wide")
        results = await Axe().run(page)
        for violation in results.response["violations"]:
            if violation["impact"] in GRAVE:
                target = violation["nodes"][0]
                found.append(f"{where}: {violation['id']} {target['target']} {target['html'][:90]}")
    for context in contexts.values():
        await context.close()
    return found


async def test_axe_finds_nothing_serious_on_a_page_of_each_kind(
    chromium: Any, address: str, signed_in: Any, course: Any
) -> None:
    """One page a route, languages and sizes taken in turn."""
    kinds = {one.route: one for one in tour(course)}
    chosen = [(one, *LOOKS[number % len(LOOKS)]) for number, one in enumerate(kinds.values())]

    assert "\n".join(await looked_at(chromium, address, signed_in, chosen)) == ""


@pytest.mark.long
async def test_axe_finds_nothing_serious_on_any_page_in_any_look(
    chromium: Any, address: str, signed_in: Any, course: Any
) -> None:
    chosen = [(one, *look) for one in tour(course) for look in LOOKS]

    assert "\n".join(await looked_at(chromium, address, signed_in, chosen)) == ""
