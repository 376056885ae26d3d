"""A new version without script: the answer to a return, an edit in review, a correction."""

import pytest
from sqlmodel import select

from review.records.tables import Attachment
from tests.web.pages.conftest import hidden_of, words_of

BODY = "11月18日，全省秋冬季造林绿化现场推进会召开。3个市作了交流发言。"
BETTER = "11月18日，全省秋冬季造林绿化现场推进会召开，会场气氛热烈。3个市作了交流发言。"


async def edited(browser, course, **fields):
    """Send the edit form of an item as it stands there, with what is typed."""
    page = await browser.see(f"/items/{course.id}/edit")
    title = course.item(lambda item: item.row.title)
    whole = hidden_of(page, "write") | {"title": title, "reposted": "no", "do": "send"} | fields
    return await browser.send(f"/items/{course.id}/edit", **whole)


@pytest.fixture
def returned(course):
    """A course whose text was returned with two things to mend."""
    course.decide(
        "afforest_head", "unit_review", "return", reason_code="facts", return_to="author",
        opinion="会场情况没有写\n请核对市的个数", checklist={},
    )  # fmt: skip
    course.turn()
    return course


async def test_writer_finds_reasons_and_the_way_to_answer(browser, returned):
    writer = browser("afforest_info")

    item = words_of(await writer.see(f"/items/{returned.id}"))
    page = words_of(await writer.see(f"/items/{returned.id}/edit"))

    assert "已退回报送人afforest_info修改。 按退回意见修改、重报" in item and "撤回" in item
    assert "改一条勾一条 自审 afforest_head" in page
    assert "事实有误 会场情况没有写 请核对市的个数" in page


async def test_ticks_and_text_stay_while_changes_are_looked_at(browser, returned):
    page = await edited(
        browser("afforest_info"), returned, body=BETTER, do="look", settled="2", note="已补"
    )

    assert page.status_code == 200
    assert "<ins>，会场气氛热烈</ins>" in page.text
    assert 'name="settled" value="2" checked' in page.text
    assert "已补</textarea>" in page.text
    assert returned.row().version == 1


async def test_mended_text_goes_back_into_review_with_its_note(browser, returned):
    writer = browser("afforest_info")

    answer = await edited(writer, returned, body=BETTER, proofread="yes", note="已补会场情况")

    assert answer.status_code == 303
    row = returned.row()
    assert (row.version, row.status) == (2, "in_review")
    assert "重报说明" in (page := words_of(await writer.see(answer.headers["location"])))
    assert "已补会场情况" in page


async def test_unchanged_answer_keeps_its_reason(browser, returned):
    answer = await edited(
        browser("afforest_info"), returned, body=BODY, proofread="yes", note="数据已核实无误"
    )

    row = returned.row()
    assert answer.status_code == 303
    assert (row.version, row.status) == (1, "in_review")
    assert "数据已核实无误" in await browser("afforest_head").see(f"/items/{returned.id}")


async def test_answer_without_first_proof_is_refused_and_kept(browser, returned):
    answer = await edited(browser("afforest_info"), returned, body=BETTER)

    assert answer.status_code == 422
    assert "一校" in answer.text and BETTER in answer.text
    assert returned.row().status == "returned"


async def test_editor_sees_the_change_then_sends_it_as_wording(browser, course):
    course.run("edit_proof2")
    editor = browser("editor_a")

    looked = await edited(editor, course, body=BETTER, do="look")
    answer = await edited(editor, course, body=BETTER, change="wording", proofread="yes")

    assert "<ins>，会场气氛热烈</ins>" in looked.text
    assert answer.status_code == 303
    version = course.item(lambda item: item.versions[-1])
    assert (version.change, version.author_id) == ("wording", "editor_a")


async def test_change_of_a_figure_is_named_while_it_is_written(browser, course):
    course.run("edit_proof2")

    live = await browser("editor_a").send(
        f"/items/{course.id}/edit/look", script=True, title="全省秋冬季造林绿化现场推进会召开",
        body=BODY.replace("3个", "4个"), reposted="no",
    )  # fmt: skip

    assert "数字有改动" in live.text and "<html" not in live.text


async def test_version_of_another_meanwhile_comes_first_and_nothing_is_lost(browser, course):
    course.run("edit_proof2")
    editor = browser("editor_b")
    opened = hidden_of(await editor.see(f"/items/{course.id}/edit"), "write")
    course.edit("editor_a", body=BETTER, change="wording")

    answer = await editor.send(
        f"/items/{course.id}/edit", **opened, title="全省秋冬季造林绿化现场推进会召开",
        body=BODY + "我写的一句。", reposted="no", do="send", proofread="yes",
    )  # fmt: skip

    assert answer.status_code == 409
    assert "他人已改过这份稿件" in answer.text
    assert "<ins>，会场气氛热烈</ins>" in answer.text and "我写的一句。" in answer.text
    assert hidden_of(answer.text, "write")["digest"] == course.row().digest != opened["digest"]


async def test_private_number_in_an_edit_is_refused_and_masked(browser, course):
    course.run("edit_proof2")
    editor = browser("editor_a")

    refused = await edited(editor, course, body=f"{BODY}11010519491231002X", proofread="yes")

    assert refused.status_code == 409
    assert 'data-with="11*************02X"' in refused.text
    assert course.row().version == 1


async def test_who_may_not_edit_is_told_and_shown_no_way(browser, course):
    course.run("edit_proof2")
    chief = browser("chief")

    page = await chief.see(f"/items/{course.id}/edit", 409)

    assert "现在不能由您修改" in page and 'value="send"' not in page
    assert f"/items/{course.id}/edit" not in await chief.see(f"/items/{course.id}")
    await browser("fire_info").see(f"/items/{course.id}/edit", 404)


async def test_published_text_is_corrected_through_second_and_final_review(browser, course):
    course.publish(course.run())
    editor = browser("editor_a")

    nameless = await edited(editor, course, body=BETTER, change="wording")
    answer = await edited(editor, course, body=BETTER, change="wording", note="漏写会场情况")

    assert nameless.status_code == 422 and BETTER in nameless.text
    assert answer.status_code == 303
    row = course.row()
    assert (row.version, row.status) == (2, "in_review")


@pytest.mark.parametrize("act", ["withdraw", "urge"])
async def test_writer_withdraws_and_urges(browser, course, act):
    writer = browser("afforest_info")
    page = await writer.see(f"/items/{course.id}")

    form = await writer.see(f"/items/{course.id}/acts/{act}")
    answer = await writer.send(
        f"/items/{course.id}/acts/{act}", key="k1", step="unit_review", reason=""
    )

    assert f"/items/{course.id}/acts/{act}" in page
    assert "自审" in form or act == "withdraw"
    assert answer.status_code == 303
    assert course.row().status == ("withdrawn" if act == "withdraw" else "in_review")


async def test_file_for_an_item_that_waits_for_somebody_else_is_not_kept(
    browser, course, quick_ledger
):
    writer = browser("afforest_info")

    answer = await writer.client.post(
        f"/items/{course.id}/edit/files", data={"csrf": writer.csrf, "title": "改过的标题"},
        files={"file": ("附表.txt", "附表".encode(), "text/plain")},
    )  # fmt: skip

    with quick_ledger.reading() as session:
        kept = session.exec(select(Attachment)).all()
    assert (answer.status_code, kept) == (409, [])
    assert "改过的标题" in answer.text
