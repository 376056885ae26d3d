"""The ten main journeys in a real browser, on a phone and at a desk, with script and without."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.acting import Course
from tests.examples import CHECKLIST
from tests.web.pages.test_browser import PHONE, address, chromium, page_of, pytestmark

__all__ = ["address", "chromium", "page_of", "pytestmark"]

DESK = {"width": 1440, "height": 900}
LOOKS = {
    "phone": (PHONE, True),
    "phone without script": (PHONE, False),
    "desk": (DESK, True),
    "desk without script": (DESK, False),
}
TITLE = "全省秋季林草种苗质量抽检工作启动"
IDENTITY = "11010519491231002X"
Journey = Callable[[Any, Course, bool], Awaitable[None]]


async def done(page: Any, button: str) -> None:
    """Press a button and wait for the banner that says what happened."""
    await page.click(button)
    await page.wait_for_selector(".banner")


async def officer_masks_a_number_and_submits(open_: Any, course: Course, script: bool) -> None:
    async with open_("afforest_info") as page:
        await page.goto("/write")
        await page.fill("#title", TITLE)
        await page.fill("#body", f"11月18日，抽检工作启动。证件号{IDENTITY}。")
        await page.check('[name="reposted"][value="no"]')
        await page.select_option('[name="kind"]', "disclosure")
        await page.check('[name="channels"][value="site"]')
        await page.check('[name="secrecy_pledge"]')
        await page.check('[name="proofread"]')
        await page.click('.bar [value="submit"]')
        await page.wait_for_selector(".refusal")
        assert IDENTITY in await page.input_value("#body")
        await page.fill("#body", "11月18日，抽检工作启动。")
        await done(page, '.bar [value="submit"]')
        assert "现由自审（afforest_head）办理" in await page.inner_text("main")


async def head_approves(open_: Any, course: Course, script: bool) -> None:
    async with open_("afforest_head") as page:
        await page.goto("/")
        await page.click(".row-link")
        await page.click('.bar [data-verdict="approve"]')
        for key in CHECKLIST:
            await page.check(f'[name="checklist"][value="{key}"]')
        await done(page, "button.send")
        assert "现由编辑与二校" in await page.inner_text(".banner")


async def head_returns_with_a_reason(open_: Any, course: Course, script: bool) -> None:
    async with open_("afforest_head") as page:
        await page.goto(f"/items/{course.id}?verdict=return#decide")
        await page.select_option('[name="reason_code"]', "facts")
        await page.fill("#opinion", "1. 请核对数据\n2. 请补充来源")
        await done(page, "button.send")
    assert course.row().status == "returned"


async def officer_answers_a_return(open_: Any, course: Course, script: bool) -> None:
    course.decide(
        "afforest_head", "unit_review", "return", opinion="请核对数据", reason_code="facts",
        return_to="author",
    )  # fmt: skip
    course.turn()
    async with open_("afforest_info") as page:
        await page.goto("/?tab=mine")
        await page.click(".row-link")
        await page.click(".primary-chip")
        await page.fill("#body", "11月18日，推进会召开。4个市作了交流发言。")
        await page.fill('[name="note"]', "数据已核实")
        await page.check('[name="proofread"]')
        await page.click(".bar .primary")
        await page.wait_for_url(f"**/items/{course.id}?*")
    assert (course.row().version, course.row().status) == (2, "in_review")


async def editor_changes_the_wording(open_: Any, course: Course, script: bool) -> None:
    course.run("edit_proof2")
    async with open_("editor_a") as page:
        await page.goto(f"/items/{course.id}/edit")
        await page.fill("#body", "11月18日，全省秋冬季造林绿化现场推进会召开。3个市作交流发言。")
        await page.check('[name="change"][value="wording"]')
        await page.click(".bar .primary")
        await page.wait_for_url(f"**/items/{course.id}?*")
    assert course.row().version == 2


async def editor_hands_over(open_: Any, course: Course, script: bool) -> None:
    course.run("edit_proof2")
    async with open_("editor_a") as page:
        await page.goto(f"/items/{course.id}/acts/transfer?step=edit_proof2")
        await page.select_option('[name="to"]', "editor_b")
        await page.click("main button.send")
        await page.wait_for_url(f"**/items/{course.id}?*")
    async with open_("editor_b") as page:
        await page.goto("/")
        assert await page.is_visible(".row .mark")


async def leader_gives_the_final_word(open_: Any, course: Course, script: bool) -> None:
    course.run("final_review")
    async with open_(course.final()) as page:
        await page.goto("/")
        await page.click(".row-link")
        await page.click('.bar [data-verdict="approve"]')
        await page.fill("#opinion", "同意。")
        await done(page, "button.send")
    assert course.item(lambda item: item.decisions[-1].opinion) == "同意。"


async def publisher_proofs_each_channel_and_sends(open_: Any, course: Course, script: bool) -> None:
    course.run("proof3_publish")
    async with open_("publisher_a") as page:
        await page.goto(f"/items/{course.id}")
        proofed = '[name="checklist"][value="proof3.site"]'
        if script:  # beside the preview that was read
            await page.check(proofed)
            await page.click('.bar [data-verdict="approve"]')
        else:  # a new page with the sheet open, which asks for it there
            await page.click('.bar [data-verdict="approve"]')
            await page.check(proofed)
        await done(page, "button.send")
    assert course.item(lambda item: item.decisions[-1].checklist) == {"proof3.site": True}
    course.publish()
    assert course.row().status == "published"


async def publisher_takes_down(open_: Any, course: Course, script: bool) -> None:
    course.publish(course.run())
    async with open_("publisher_a") as page:
        await page.goto("/publishing?tab=published")
        await page.click(".row-link")
        await page.click(".outlets .chips a")
        await page.fill('[name="reason"]', "数据有误")
        await page.click("main button.send")
        await page.wait_for_url(f"**/items/{course.id}?*")
        assert "撤稿中" in await page.inner_text("#publications")
    course.publish()
    assert course.row().status == "retracted"


async def supervisor_urges_what_is_late(open_: Any, course: Course, script: bool) -> None:
    course.wait(hours=30)
    async with open_("supervisor_a") as page:
        await page.goto("/board")
        await page.click(".tile-late a")
        await page.click(".dense .title a")
        await page.goto(f"/board/act?act=urge&id={course.id}")
        await page.fill('[name="reason"]', "请尽快")
        await page.click("main form button.primary, main form button.send")
        await page.wait_for_selector("main [role=status].note")
        assert "已办 1 项" in await page.inner_text("main")


JOURNEYS: tuple[Journey, ...] = (
    officer_masks_a_number_and_submits,
    head_approves,
    head_returns_with_a_reason,
    officer_answers_a_return,
    editor_changes_the_wording,
    editor_hands_over,
    leader_gives_the_final_word,
    publisher_proofs_each_channel_and_sends,
    publisher_takes_down,
    supervisor_urges_what_is_late,
)
EVERY = [(journey, look) for journey in JOURNEYS for look in LOOKS]


def daily(number: int) -> tuple[Journey, str]:
    """Return a journey's look of every day; neighbours differ."""
    return JOURNEYS[number], list(LOOKS)[number % len(LOOKS)]


DAILY = [daily(number) for number in range(len(JOURNEYS))]


@pytest.mark.parametrize(
    ("journey", "look"),
    [
        pytest.param(*one, id=f"{one[0].__name__}, {one[1]}",
                     marks=() if one in DAILY else pytest.mark.long)
        for one in EVERY
    ],
)  # fmt: skip
async def test_journey(page_of: Any, course: Course, journey: Journey, look: str) -> None:
    size, script = LOOKS[look]

    def open_(person: str) -> Any:
        return page_of(person, viewport=size, java_script_enabled=script)

    await journey(open_, course, script)
