"""The desks: board, table, several items at once, one item's course, and what is told live."""

import asyncio
import re

import pytest

from review.records.engine import counting
from starter.web.pages.live import Pulse
from starter.web.pages.register import neutral
from tests.acting import Course
from tests.web.pages.conftest import words_of

TITLE = "全省秋冬季造林绿化现场推进会召开"


def another(course, title="全省森林防火工作会议今日召开", author="fire_info", **fields):
    found = Course(course.ledger, author, title=title, **fields)
    found.turn()
    return found


async def test_board_counts_and_shows_where_items_are(browser, course):
    another(course)

    page = words_of(await browser("supervisor_a").see("/board"))

    assert "2 审核中 0 今日到期" in page or "2 审核中 2 今日到期" in page
    assert "0 已超时 0 今日发布 0 渠道异常" in page
    assert re.search(r"afforest 1 最久 1 分 1", page), page
    assert "接下来要超时的 " + TITLE in page


async def test_overdue_is_alarming_in_word_and_number(browser, course):
    course.wait(hours=30)

    page = words_of(await browser("supervisor_a").see("/board"))

    assert "1 ! 已超时" in page and "! 超时 1" in page
    assert TITLE in await browser("supervisor_a").see("/items?show=overdue")


async def test_board_asks_as_often_for_many_items_as_for_one(browser, course):
    supervisor = browser("supervisor_a")
    await supervisor.see("/board")
    with counting(course.ledger) as one:
        await supervisor.see("/board")
    for n in range(4):
        another(course, f"第{n}次全省森林防火工作会议")
    with counting(course.ledger) as many:
        await supervisor.see("/board")

    assert len(many) == len(one) <= 12


async def test_table_asks_as_often_for_many_items_as_for_one(browser, course):
    supervisor = browser("supervisor_a")
    await supervisor.see("/items")
    with counting(course.ledger) as one:
        await supervisor.see("/items")
    for n in range(4):
        another(course, f"第{n}次全省森林防火工作会议")
    with counting(course.ledger) as many:
        await supervisor.see("/items")

    assert len(many) == len(one) <= 10


@pytest.mark.parametrize("path", ["/board", "/board/act?act=urge", "/events"])
async def test_those_who_oversee_nothing_are_told_so(browser, course, path):
    page = await browser("afforest_info").see(path, 403)

    assert "无权" in page


@pytest.mark.parametrize("person", ["admin", "security"])
async def test_administrators_see_no_items_in_the_table(browser, course, person):
    assert TITLE not in await browser(person).see("/items")


async def test_filters_stand_in_the_address(browser, course):
    another(course)
    supervisor = browser("supervisor_a")

    for query, there in (
        ("unit=afforest", True), ("unit=fire", False), ("status=published", False),
        ("category=work_news&kind=disclosure", True), ("q=造林", True), ("q=防火", False),
        ("from=2026-11-23&to=2026-11-23", True), ("to=2026-11-22", False),
        ("show=running&step=unit_review", True), ("step=final_review", False),
        ("show=trouble", False), ("show=published", False), ("status=&q=", True),
    ):  # fmt: skip
        assert (TITLE in await supervisor.see(f"/items?{query}")) is there, query
    await supervisor.see("/items?status=nonsense", 422)
    await supervisor.see("/items?from=yesterday", 422)


async def test_days_at_a_step_are_those_of_the_step_not_of_the_item(browser, course):
    course.wait(hours=50)
    course.decide("afforest_head", "unit_review")
    course.turn()
    course.wait(hours=25)

    page = words_of(await browser("supervisor_a").see("/items"))

    assert "编辑与二校 deputy_b、deputy_c等 4 人 1 天 1 小时 ! 超时" in page


async def test_view_is_saved_for_its_owner_alone(browser, course):
    supervisor = browser("supervisor_a")

    saved = await supervisor.send(
        "/board/views", name="本处室超时", query="unit=afforest&show=overdue&x=1"
    )

    assert saved.headers["location"] == "/items?show=overdue&unit=afforest"
    page = await supervisor.see("/items?show=overdue&unit=afforest")
    assert "本处室超时" in page
    assert "本处室超时" not in await browser("chief").see("/items")
    view = re.search(r"/board/views/(\w+)/drop", page)[1]
    assert (await browser("chief").send(f"/board/views/{view}/drop")).status_code == 404
    await supervisor.send(f"/board/views/{view}/drop")
    assert "本处室超时" not in await supervisor.see("/items")


async def test_name_of_a_view_with_a_private_number_is_not_kept(browser, course):
    supervisor = browser("supervisor_a")

    answer = await supervisor.send("/board/views", name="11010519491231002X", query="show=overdue")

    assert answer.status_code == 409
    assert "11010519491231002X" not in await supervisor.see("/items")


async def test_several_are_urged_at_once_and_each_result_is_told(browser, course):
    other = another(course)
    other.act("chief", "hold", reason="等通知")
    supervisor = browser("supervisor_a")

    form = await supervisor.see(f"/board/act?act=urge&id={course.id}&id={other.id}")
    answer = await supervisor.send(
        "/board/act", act="urge", key="k1", reason="请尽快", id=[course.id, other.id]
    )

    assert TITLE in form
    page = words_of(answer.text)
    assert "已办 1 项，未办 1 项。" in page
    assert "缓发" in page and "✓ 已办" in page


async def test_deadline_is_extended_within_the_items_limit_only(browser, course):
    supervisor = browser("supervisor_a")
    fields = {"act": "set_deadline", "key": "k1", "id": course.id, "reason": "开会"}

    late = await supervisor.send("/board/act", **fields, due_at="2027-01-01T09:00")
    good = await supervisor.send("/board/act", **fields | {"key": "k2"}, due_at="2026-11-24T09:00")
    bare = await supervisor.send("/board/act", **fields | {"reason": ""}, due_at="2026-11-24T09:00")

    assert "未办" in late.text and "已办 1 项" in words_of(good.text)
    assert bare.status_code == 422
    step = course.item(lambda item: item.steps[0])
    assert step.due_at.isoformat() == "2026-11-24T01:00:00+00:00"


async def test_step_is_reassigned_within_its_role(browser, course):
    course.run("edit_proof2")
    supervisor = browser("supervisor_a")
    fields = {"act": "reassign", "id": course.id, "reason": "请假"}

    page = await supervisor.see(f"/board/act?act=reassign&id={course.id}")
    wrong = await supervisor.send("/board/act", **fields, key="k1", to="fire_head")
    right = await supervisor.send("/board/act", **fields, key="k2", to="editor_b")

    assert 'value="editor_b"' in page and 'value="fire_head"' not in page
    assert "未办" in wrong.text and "已办 1 项" in words_of(right.text)


async def test_form_sent_twice_acts_once(browser, course):
    supervisor = browser("supervisor_a")
    fields = {"act": "set_deadline", "key": "k1", "id": course.id, "reason": "开会",
              "due_at": "2026-11-24T09:00"}  # fmt: skip

    await supervisor.send("/board/act", **fields)
    again = await supervisor.send("/board/act", **fields)

    assert "已办 1 项" in words_of(again.text)
    assert course.item(lambda item: item.steps[0].clock) == 1


async def test_export_begins_no_formula(browser, course):
    another(course, "=HYPERLINK(0)的工作会议")

    answer = await browser("supervisor_a").client.get("/items.csv?unit=fire")

    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = answer.text.splitlines()
    assert len(rows) == 2 and ",'=HYPERLINK(0)的工作会议," in rows[1]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", " =1", "\t=1"])
def test_cells_that_would_reckon_are_quoted(cell):
    assert neutral(cell) == f"'{cell}"
    assert neutral("平常") == "平常"


async def test_peek_is_a_fragment_and_without_script_the_course(browser, course):
    supervisor = browser("supervisor_a")

    scripted = await supervisor.client.get(
        f"/board/peek/{course.id}", headers={"HX-Request": "true"}
    )
    plain = await supervisor.client.get(f"/board/peek/{course.id}")

    assert TITLE in scripted.text and "<html" not in scripted.text
    assert plain.headers["location"] == f"/items/{course.id}/course"


async def test_course_tells_possession_and_which_step_approved_which_version(browser, course):
    course.run("second_review")
    course.wait(hours=1)
    course.decide(
        "deputy_b", "second_review", "return", reason_code="facts", opinion="请核对",
        return_to="author",
    )  # fmt: skip
    course.wait(hours=2)
    course.edit("afforest_info", body="11月18日，推进会召开。4个市作了交流发言。")
    course.turn()

    page = words_of(await browser("supervisor_a").see(f"/items/{course.id}/course"))

    assert "退回修改 afforest_info" in page and "2 小时" in page
    assert "第 2 版" in page and "↩ 退回 deputy_b" in page and "✓ 同意 afforest_head" in page
    assert "不再计入" in page and "第 2 轮" in page
    assert "报送" in page and "event." not in page


async def test_course_of_others_is_not_there(browser, course):
    await browser("fire_head").see(f"/items/{course.id}/course", 404)


# --- live -----------------------------------------------------------------------------------------


async def test_ledger_is_asked_once_for_all_who_listen_and_not_at_all_for_nobody(monkeypatch):
    monkeypatch.setattr("starter.web.pages.live.EVERY", 0.01)
    asked = 0

    async def read():
        nonlocal asked
        asked += 1
        return asked // 5

    pulse = Pulse(read, lambda: False)
    with pulse.listening() as first, pulse.listening() as second:
        got = await asyncio.wait_for(asyncio.gather(first.get(), second.get()), 5)
    await asyncio.sleep(0)
    before = asked
    await asyncio.sleep(0.05)

    assert got == [1, 1]
    assert asked == before


async def test_listeners_go_when_the_process_stops(monkeypatch):
    monkeypatch.setattr("starter.web.pages.live.EVERY", 0.01)
    stopping = False

    async def read():
        return 7

    pulse = Pulse(read, lambda: stopping)
    with pulse.listening() as queue:
        assert await asyncio.wait_for(queue.get(), 5) == 7
        stopping = True
        assert await asyncio.wait_for(queue.get(), 5) is None
