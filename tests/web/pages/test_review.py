"""Reviewing without script: the inbox, an item, a decision, and what may not be lost."""

import pytest

from tests.acting import Course
from tests.examples import CHECKLIST
from tests.web.pages.conftest import hidden_of, words_of

TICKED = list(CHECKLIST)
CHANGED = "11月18日，全省秋冬季造林绿化现场推进会召开，会场气氛热烈。3个市作了交流发言。"


async def test_inbox_shows_what_waits_with_its_time_left(browser, course):
    page = words_of(await browser("afforest_head").see("/"))

    assert "待我审 1" in page
    assert "工作动态类 afforest 自审 剩 3 小时 29 分（工作时间）" in page


async def test_other_tabs_show_what_i_submitted_and_what_i_did(browser, course):
    title = "全省秋冬季造林绿化现场推进会召开"
    course.decide("afforest_head", "unit_review")

    assert title in await browser("afforest_info").see("/?tab=mine")
    assert title in await browser("afforest_head").see("/?tab=done")
    assert title not in await browser("afforest_head").see("/")
    assert title not in await browser("editor_b").see("/?tab=done")


async def test_overdue_items_come_first(browser, course):
    later = Course(course.ledger, title="全省森林防火工作会议今日召开")
    later.now = course.now
    course.wait(hours=30)
    later.now = course.now
    fresh = Course(course.ledger, title="秋季林草种苗质量抽检开始了")
    fresh.now = course.now
    fresh.turn()

    page = words_of(await browser("afforest_head").see("/"))

    assert page.index("全省秋冬季造林") < page.index("秋季林草种苗质量")
    assert "超时" in page


async def test_button_names_its_effect(browser, course):
    page = words_of(await browser("afforest_head").see(f"/items/{course.id}"))

    assert "同意，转编辑与二校（editor_a、editor_b）" in page
    assert "您将在自审环节同意本稿，转编辑与二校（editor_a、editor_b）。" in page


async def test_approval_is_recorded_and_told(browser, course):
    head = browser("afforest_head")

    answer = await head.decide(course.id, verdict="approve", checklist=TICKED, opinion="同意。")

    assert answer.status_code == 303
    page = words_of(await head.see(answer.headers["location"]))
    assert "已在自审环节作出意见：同意。 现由编辑与二校（editor_a、editor_b）办理。" in page
    decision = course.item(lambda item: item.decisions)[0]
    assert (decision.verdict, decision.opinion, decision.way_in) == ("approve", "同意。", "page")


async def test_next_item_follows_a_decision(browser, course):
    second = Course(course.ledger, title="全省森林防火工作会议今日召开")
    second.turn()

    answer = await browser("afforest_head").decide(course.id, verdict="approve", checklist=TICKED)

    assert answer.headers["location"].startswith(f"/items/{second.id}?step=unit_review")


async def test_form_sent_twice_decides_once(browser, course):
    head = browser("afforest_head")
    hidden = hidden_of(await head.see(f"/items/{course.id}"), "decision")
    fields = hidden | {"verdict": "approve", "checklist": TICKED}

    first = await head.send(f"/items/{course.id}/decisions", **fields)
    second = await head.send(f"/items/{course.id}/decisions", **fields)

    assert first.status_code == second.status_code == 303
    assert len(course.item(lambda item: item.decisions)) == 1


async def test_missing_declarations_are_named_and_nothing_typed_is_lost(browser, course):
    answer = await browser("afforest_head").decide(
        course.id, verdict="approve", checklist=TICKED[1:], opinion="数字已核对"
    )

    assert answer.status_code == 422
    assert "政治方向正确： 须确认此项" in words_of(answer.text).replace("：", "： ").replace(
        "  ", " "
    )
    assert ">数字已核对</textarea>" in answer.text
    assert 'value="true" checked' in answer.text
    assert not course.item(lambda item: item.decisions)


async def test_return_names_reason_and_step(browser, course):
    course.run("second_review")
    deputy = browser("deputy_b")

    page = await deputy.see(f"/items/{course.id}")
    answer = await deputy.decide(
        course.id, verdict="return", opinion="请核对", reason_code="facts", return_to="edit_proof2"
    )

    assert '<option value="edit_proof2">编辑与二校（editor_a' in page
    assert answer.status_code == 303
    decision = course.item(lambda item: item.decisions)[-1]
    assert (decision.verdict, decision.reason_code, decision.return_to) == (
        "return",
        "facts",
        "edit_proof2",
    )


async def test_changed_text_is_shown_first_and_the_opinion_kept(browser, course):
    course.run("edit_proof2")
    second = browser("editor_b")
    hidden = hidden_of(await second.see(f"/items/{course.id}"), "decision")
    course.edit("editor_a", body=CHANGED, change="wording")

    answer = await second.send(
        f"/items/{course.id}/decisions", **hidden, verdict="approve", opinion="写了很久的意见"
    )

    assert answer.status_code == 409
    assert "内容已更新，先看改动" in answer.text
    assert (
        "<ins>，会场气氛热烈</ins>" in answer.text and ">写了很久的意见</textarea>" in answer.text
    )
    again = hidden_of(answer.text, "decision")
    assert again["digest"] == course.row().digest != hidden["digest"]


async def test_text_that_went_back_to_the_unit_is_shown_with_the_unsent_opinion(browser, course):
    course.run("second_review")
    deputy = browser("deputy_b")
    hidden = hidden_of(await deputy.see(f"/items/{course.id}"), "decision")
    course.edit("deputy_b", body=CHANGED.replace("3个", "4个"))

    answer = await deputy.send(
        f"/items/{course.id}/decisions", **hidden, verdict="approve", opinion="写了很久的意见"
    )

    assert answer.status_code == 409
    assert "内容已更新，先看改动" in answer.text
    assert "<ins>4</ins>" in answer.text and "写了很久的意见" in answer.text


async def test_script_gets_the_sheet_alone_and_an_address_to_go_to(browser, course):
    head = browser("afforest_head")

    refused = await head.decide(course.id, script=True, verdict="approve", opinion="同意。")
    taken = await head.decide(course.id, script=True, verdict="approve", checklist=TICKED)

    assert refused.text.lstrip().startswith('<section id="decide" class="sheet open"')
    assert taken.status_code == 204 and taken.headers["hx-redirect"].startswith("/?did=")


async def test_decided_by_another_meanwhile_says_so_and_keeps_the_opinion(browser, course):
    course.run("edit_proof2")
    second = browser("editor_b")
    hidden = hidden_of(await second.see(f"/items/{course.id}"), "decision")
    course.decide("editor_a", "edit_proof2")

    answer = await second.send(
        f"/items/{course.id}/decisions", **hidden, verdict="approve", opinion="我的意见"
    )

    assert answer.status_code == 409
    assert "该环节已有审核意见" in answer.text and "我的意见" in answer.text


async def test_title_and_opinion_are_shown_as_text(browser, quick_ledger, course):
    odd = Course(
        quick_ledger, title="<script>alert(1)</script>", body="**粗** <img src=x onerror=y>"
    )
    odd.turn()

    page = await browser("afforest_head").see(f"/items/{odd.id}")

    assert "<script>alert" not in page and "<img" not in page
    assert "<strong>粗</strong>" in page


async def test_items_of_others_are_not_there(browser, course):
    assert "找不到" in await browser("fire_head").see(f"/items/{course.id}", 404)
    assert "找不到" in await browser("security").see(f"/items/{course.id}", 404)


async def test_banner_tells_nothing_that_was_not_done(browser, course):
    """What the address claims is looked up, never repeated."""
    course.decide("afforest_head", "unit_review", decision_id="d1")

    forged = await browser("editor_a").see(f"/?did={course.id}.d1")
    hidden = await browser("fire_head").see(f"/?did={course.id}.d1")

    assert "作出意见" not in forged
    assert "banner" not in hidden


async def test_preview_is_boxed_and_only_our_pages_may_frame_it(browser, course):
    answer = await browser("afforest_head").client.get(f"/items/{course.id}/preview/site")

    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "frame-ancestors 'self'" in policy
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "全省秋冬季造林绿化现场推进会召开" in answer.text


@pytest.mark.parametrize(
    ("act", "person", "fields", "event"),
    [
        ("comment", "afforest_head", {"reason": "看过了"}, "comment"),
        ("hold", "chief", {"reason": "等上级通知"}, "hold"),
        ("set_category", "deputy_b", {"category": "important"}, "set_category"),
    ],
)
async def test_other_acts_have_their_forms(browser, course, act, person, fields, event):
    visitor = browser(person)

    await visitor.see(f"/items/{course.id}/acts/{act}")
    answer = await visitor.send(f"/items/{course.id}/acts/{act}", key="k1", **fields)
    again = await visitor.send(f"/items/{course.id}/acts/{act}", key="k1", **fields)

    assert answer.status_code == again.status_code == 303
    page = words_of(await visitor.see(answer.headers["location"]))
    assert fields.get("reason", "重要信息") in page


async def test_step_is_handed_over_to_a_colleague(browser, course):
    course.run("edit_proof2")

    answer = await browser("editor_a").send(
        f"/items/{course.id}/acts/transfer", key="k1", step="edit_proof2", to="editor_b"
    )

    assert answer.status_code == 303
    row = words_of(await browser("editor_b").see("/"))
    assert " 转 " in row and "待我审 0" in words_of(await browser("editor_a").see("/"))


async def test_act_without_its_reason_says_so(browser, course):
    answer = await browser("chief").send(f"/items/{course.id}/acts/hold", key="k1")

    assert answer.status_code == 422
    assert "理由" in answer.text and course.row().status == "in_review"


@pytest.mark.parametrize(
    ("body", "word"), [("全文照发。\n第二段。", "一字不差"), ("全文照发！\n第二段。", "有出入")]
)
async def test_a_unified_release_is_shown_beside_its_original(browser, course, body, word):
    """R3.2-5: what differs from the saved original is marked, down to one character."""
    original = "全文照发。\n\n第二段。"
    source = {
        "type": "unified_release", "name": "河北日报", "url": "https://www.hebnews.cn/1.html",
        "original_title": "全省秋冬季造林绿化现场推进会召开", "original_body": original,
    }  # fmt: skip
    released = Course(
        course.ledger, title="全省秋冬季造林绿化现场推进会召开", body=body, source=source,
        now=course.now,
    )  # fmt: skip
    released.turn()

    page = await browser("afforest_head").see(f"/items/{released.id}")

    assert f"与来源原文对照：{word}" in words_of(page)
    assert ("<del>。</del><ins>！</ins>" in page) is (word == "有出入")
