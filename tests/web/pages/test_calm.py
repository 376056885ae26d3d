"""What a reader sees when something is wrong, or on its way: calm words and the way on."""

import httpx
import pytest

from tests.web.pages.conftest import words_of


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_bug_shows_a_page_with_a_number_and_the_way_on(app, browser, course, language):
    head = browser("afforest_head")

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("内容")

    app.state.reviews.inbox = broken
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", cookies=dict(head.client.cookies)
    ) as client:
        headers = {"Accept": "text/html", "X-Request-ID": "r-17"}
        answer = await client.get(f"/?lang={language}", headers=headers)
        scripted = await client.get("/", headers=headers | {"HX-Request": "true"})

    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert "r-17" in (page := words_of(answer.text)) and "内容" not in page
    assert ("系统出了问题" if language == "zh" else "Something went wrong") in page
    assert "登录" not in page and 'href="/"' in answer.text
    assert scripted.headers["content-type"].startswith("application/problem+json")


async def test_unknown_address_says_so_calmly(browser):
    page = words_of(await browser().see("/no-such-page", 404))

    assert "回到首页" in page and "找不到" in page


async def test_retraction_under_way_is_shown_as_such(browser, course):
    course.publish(course.run())
    course.act("deputy_b", "retract", reason="数据有误")
    course.turn()
    publisher = browser("publisher_a")

    page = await publisher.see(f"/items/{course.id}")

    assert "site 撤稿中" in words_of(page) and "正在从 1 个渠道撤下。" in words_of(page)
    assert "/acts/retract?" not in page
    course.publish()
    assert "撤稿中" not in await publisher.see(f"/items/{course.id}")


async def test_proof_is_asked_for_in_the_sheet_where_that_is_a_page_of_its_own(browser, course):
    """Without script a tick beside the preview would be lost on the way to the sheet."""
    course.run("proof3_publish")
    publisher = browser("publisher_a")

    first = await publisher.see(f"/items/{course.id}")
    opened = await publisher.see(f"/items/{course.id}?verdict=approve")

    tick = 'name="checklist" value="proof3.site"'
    assert first.count(tick) == opened.count(tick) == 1
    assert first.index(tick) < first.index('id="decide"')
    assert opened.index(tick) > opened.index('id="decide"')


async def test_link_in_a_mail_opens_the_item_for_who_is_signed_in(browser, course):
    """SameSite=Lax brings the cookie with a link; a form from elsewhere still does nothing."""
    head = browser("afforest_head")
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    answer = await head.client.get(f"/items/{course.id}", headers=elsewhere)
    forged = await head.client.post(
        f"/items/{course.id}/acts/comment", headers=elsewhere, data={"reason": "x", "key": "k"}
    )

    assert answer.status_code == 200
    assert forged.status_code == 403
