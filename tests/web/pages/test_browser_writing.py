"""Writing in a real browser: marks while typing, one-click mending, what may not be kept."""

import pytest

from tests.web.pages.test_browser import WIDTHS, address, chromium, page_of

pytestmark = pytest.mark.browser
__all__ = ["address", "chromium", "page_of"]  # fixtures

TITLE = "全省秋季林草种苗质量抽检工作启动"
IDENTITY = "11010519491231002X"
BODY = f"🌲11月18日，抽检工作启动。联系人证件号{IDENTITY}。"


async def write(page, body=BODY):
    await page.goto("/write")
    await page.fill("#title", TITLE)
    await page.fill("#body", body)
    await page.check('[name="reposted"][value="no"]')


async def test_private_number_is_marked_while_typing_and_masked_with_one_press(page_of, course):
    async with page_of("afforest_info") as page:
        await write(page)
        await page.wait_for_selector("#look[data-saved=no]")

        marked = await page.inner_text('[data-under="body"] mark')
        await page.click("[data-mend=body]")
        await page.wait_for_selector("#look[data-saved=yes]")

        assert marked == IDENTITY
        assert await page.input_value("#body") == BODY.replace(IDENTITY, "11*************02X")
        assert await page.locator('[data-under="body"] mark').count() == 0


async def test_what_the_server_may_not_keep_stays_in_the_page_through_a_reload(page_of, course):
    async with page_of("afforest_info") as page:
        await write(page)
        await page.wait_for_selector("#look[data-saved=no]")
        warned = await page.inner_text("#look .kept")
        await page.reload()
        again = await page.input_value("#body")
        left = await page.evaluate("localStorage.length")

    assert "所写只留在本页" in warned
    assert (again, left) == (BODY, 0)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
async def test_officer_submits_on_a_phone(page_of, course, script):
    async with page_of("afforest_info", java_script_enabled=script) as page:
        await write(page, "11月18日，抽检工作启动。")
        await page.select_option('[name="kind"]', "disclosure")
        await page.check('[name="channels"][value="site"]')
        await page.check('[name="secrecy_pledge"]')
        await page.check('[name="proofread"]')
        await page.click('.bar [value="submit"]')
        await page.wait_for_selector(".banner")

        assert "现由自审（afforest_head）办理" in await page.inner_text("main")


async def test_enter_in_the_title_submits_nothing(page_of, course):
    async with page_of("afforest_info") as page:
        await write(page, "11月18日，抽检工作启动。")
        await page.press("#title", "Enter")
        await page.wait_for_load_state()

        assert page.url.endswith("/write")
        assert await page.input_value("#title") == TITLE


async def test_pages_fit_and_can_be_touched(page_of, course):
    course.run("edit_proof2")
    paths = {"afforest_info": ["/write"], "editor_a": [f"/items/{course.id}/edit", "/publishing"]}
    for person, found in paths.items():
        async with page_of(person) as page:
            for path in found:
                for width in WIDTHS:
                    await page.set_viewport_size({"width": width, "height": 844})
                    await page.goto(path)
                    sticks_out = await page.evaluate(
                        "document.documentElement.scrollWidth - innerWidth"
                    )
                    small = await page.evaluate(
                        """[...document.querySelectorAll("button, .button, .chips a, select")]
                        .filter(e => e.checkVisibility() && e.tabIndex >= 0)
                        .filter(e => e.getBoundingClientRect().height < 43.5)
                        .map(e => e.outerHTML.slice(0, 80))"""
                    )

                    assert sticks_out <= 0, (path, width)
                    assert small == [], path
