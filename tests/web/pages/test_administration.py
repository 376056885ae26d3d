"""The administrators' pages, the rules for everybody to read, and the check for anyone."""

import re

import pytest
from sqlmodel import select

from review.packs import builtin_calendar, builtin_pack
from review.records.tables import Audit, Delegation, Grant, PersonRow
from starter.web.pages.rules import regulation_of
from tests.acting import Course
from tests.web.pages.conftest import words_of

BODY = "11月18日，全省秋冬季造林绿化现场推进会召开。3个市作了交流发言。"
TITLE = "全省秋冬季造林绿化现场推进会召开"


def kept(course, table, **fields):
    with course.ledger.reading() as session:
        rows = session.exec(select(table).filter_by(**fields)).all()
        return list(rows)


# --- people ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["security", "admin", "auditor_a"])
async def test_administrators_read_the_roster(browser, course, person):
    page = words_of(await browser(person).see("/admin/people?q=fire"))

    assert "fire_head" in page and "afforest_head" not in page


@pytest.mark.parametrize("path", ["/admin/people", "/admin/audit", "/admin/health"])
async def test_others_read_neither_roster_nor_trace_nor_health(browser, course, path):
    await browser("afforest_info").see(path, 403)
    assert (await browser().client.get(path)).status_code == 303


async def test_role_is_given_and_taken_and_both_are_in_the_trace(browser, course):
    security = browser("security")
    fields = {"role": "channel_operator", "unit": "fire", "key": "k1", "until": "2026-12-31T17:30"}

    first = await security.send("/admin/people/fire_info/give", **fields)
    await security.send("/admin/people/fire_info/give", **fields)

    assert first.headers["location"] == "/admin/people/fire_info"
    (grant,) = kept(course, Grant, person_id="fire_info", role="channel_operator")
    assert grant.until_at.isoformat() == "2026-12-31T09:30:00+00:00"
    await security.send("/admin/people/fire_info/take", grant=grant.id, key="k2")
    assert kept(course, Grant, id=grant.id)[0].revoked_at is not None
    assert len(kept(course, Audit, event="role_granted", person_id="security")) == 1
    assert len(kept(course, Audit, event="role_revoked", person_id="security")) == 1


async def test_account_is_closed_and_opened_again(browser, course):
    security = browser("security")

    await security.send("/admin/people/fire_head/disable", key="k1")
    assert "已停用" in await security.see("/admin/people/fire_head")
    await security.send("/admin/people/fire_head/enable", key="k2")

    assert kept(course, PersonRow, id="fire_head")[0].disabled_at is None


async def test_nobody_changes_their_own_account_nor_without_the_role(browser, course):
    own = await browser("security").send("/admin/people/security/give", role="auditor", key="k1")
    other = await browser("admin").send("/admin/people/fire_head/disable", key="k2")

    assert own.status_code == 409 and "不能给自己办理" in own.text
    assert other.status_code == 403
    assert kept(course, PersonRow, id="fire_head")[0].disabled_at is None


async def test_roles_that_must_be_apart_are_refused_in_words(browser, course):
    answer = await browser("security").send(
        "/admin/people/fire_head/give", role="auditor", key="k1"
    )

    assert answer.status_code == 409 and "请分由不同人员担任" in answer.text


# --- delegations ----------------------------------------------------------------------------------


async def test_person_files_and_ends_their_own_delegation_and_the_stand_in_is_asked(
    browser, course
):
    head = browser("afforest_head")
    fields = {"to": "forest_head", "until": "2026-11-30T17:30", "category": "work_news"}

    await head.send("/delegations", **fields, key="k1")
    await head.send("/delegations", **fields, key="k1")

    (row,) = kept(course, Delegation, from_id="afforest_head")
    assert row.until_at.isoformat() == "2026-11-30T09:30:00+00:00"
    assert row.categories == ["work_news"]
    assert TITLE in await browser("forest_head").see("/")
    page = words_of(await browser("supervisor_a").see("/board"))
    assert "afforest_head 不在，由 forest_head 代办" in page
    ended = await head.send(f"/delegations/{row.id}/end")
    assert ended.status_code == 303
    assert TITLE not in await browser("forest_head").see("/")
    events = [one.event for one in kept(course, Audit, person_id="afforest_head")]
    assert {"delegation_filed", "delegation_ended"} <= set(events)


async def test_delegations_of_others_are_filed_and_ended_by_the_security_administrator_alone(
    browser, course
):
    fields = {"from": "bureau_chief", "to": "leader_pub", "until": "2026-11-30T17:30"}

    await browser("security").send("/delegations", **fields, filed="yes", key="k1")
    forged = await browser("leader_eco").send("/delegations", **fields, filed="yes", key="k2")

    (row,) = kept(course, Delegation, from_id="bureau_chief")
    assert row.filed
    assert forged.status_code == 303  # it is leader_eco's own, whatever the form said
    (own,) = kept(course, Delegation, from_id="leader_eco")
    assert not own.filed
    assert (await browser("leader_eco").send(f"/delegations/{row.id}/end")).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"to": "afforest_head", "until": "2026-11-30T17:30"}, 409),
        ({"to": "forest_head", "until": "2026-11-01T17:30"}, 422),
        ({"to": "forest_head", "until": ""}, 422),
        ({"to": "nobody", "until": "2026-11-30T17:30"}, 422),
        ({"to": "auditor_a", "until": "2026-11-30T17:30"}, 409),
    ],
)
async def test_odd_delegations_are_refused_and_what_was_typed_stays(
    browser, course, fields, status
):
    answer = await browser("afforest_head").send("/delegations", **fields, key="k1")

    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert not kept(course, Delegation)


# --- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["afforest_info", "security", "bureau_chief"])
async def test_everybody_reads_who_approves_what_by_which_clause(browser, course, person):
    page = words_of(await browser(person).see("/rules"))

    assert "终审 局主要负责人 第 3 审" in page and "R4.1-10" in page
    assert "自审 单位负责人 第 1 审 3.5 工作小时" in page
    assert "自审。局机关各处室" in page
    assert (await browser().client.get("/rules")).status_code == 303


def test_only_a_shipped_packs_regulation_is_shown():
    assert "未经审查的政府信息一律不得上网发布" in (regulation_of("hebei-lcj-2022-35") or "")
    assert regulation_of("../../secret") is None and regulation_of("our-own") is None


async def test_rules_change_by_two_persons_with_the_difference_shown(browser, course):
    pack = builtin_pack("hebei-lcj-2022-35").read_text(encoding="utf-8")
    pack = pack.replace("late_opinion: 1wd", "late_opinion: 2wd").replace('"1.0"', '"1.1"')
    chief, security = browser("chief"), browser("security")

    await chief.send("/rules/changes", pack=pack, key="k1")
    await chief.send("/rules/changes", pack=pack, key="k1")
    page = await security.see("/rules/changes")
    proposals = set(re.findall(r"/rules/changes/(\w+)/confirm", page))
    (proposal,) = proposals
    own = await chief.send(f"/rules/changes/{proposal}/confirm")
    confirmed = await security.send(f"/rules/changes/{proposal}/confirm")

    assert "late_opinion <del>1wd</del> <ins>2wd</ins>" in " ".join(
        re.sub(r"</?(?:code|t[hdr])[^>]*>", " ", page).split()
    )
    assert own.status_code == 409 and "规则变更须两人" in own.text
    assert confirmed.status_code == 303
    assert "版本 1.1" in await browser("afforest_info").see("/rules")


async def test_mistakes_of_a_pack_are_told_with_their_lines(browser, course):
    answer = await browser("chief").send("/rules/changes", pack="id: x\nversion: 1\n", key="k1")
    refused = await browser("afforest_info").send(
        "/rules/changes", pack=builtin_pack("demo-seconds").read_text(encoding="utf-8"), key="k1"
    )

    assert answer.status_code == 422 and "缺少这一项" in answer.text
    assert refused.status_code == 403


# --- lists, trace, health -------------------------------------------------------------------------


async def test_lists_calendar_and_channels_are_shown(browser, course):
    page = words_of(await browser("admin").see("/admin/lists"))

    assert "08:30-12:00、13:30-17:30" in page and "mini_pest" in page and "现行" in page


WORDS = 'version: "2027"\nplaceholders: [待补充]\n'
SOURCES = 'version: "2027"\nissued_on: 2026-11-20\nsources:\n  - {name: 新华社}\n'
CALENDAR = builtin_calendar().read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "text", "keepers"),
    [
        ("words", WORDS, {"editor_a", "chief"}),
        ("sources", SOURCES, {"chief"}),
        ("calendar", CALENDAR.replace("17:30", "17:00"), {"chief"}),
    ],
)
@pytest.mark.parametrize("person", ["editor_a", "chief", "deputy_b", "admin", "afforest_info"])
async def test_lists_are_brought_in_by_who_keeps_them_once_and_traced(
    browser, course, kind, text, keepers, person
):
    one = browser(person)
    offered = f'action="/admin/lists/{kind}"' in await one.see("/admin/lists")

    answers = [await one.send(f"/admin/lists/{kind}", list=text, key="k1") for _ in range(2)]

    allowed = person in keepers
    assert offered == allowed
    assert {answer.status_code for answer in answers} == {303 if allowed else 403}
    made = kept(course, Audit, event=f"{kind}_imported", person_id=person)
    assert [entry.way_in for entry in made] == ["page"] * allowed


async def test_a_list_in_force_again_changes_nothing_and_mistakes_are_told_with_their_lines(
    browser, course
):
    chief = browser("chief")
    for key in ("k1", "k2"):
        assert (await chief.send("/admin/lists/words", list=WORDS, key=key)).status_code == 303

    wrong = await chief.send("/admin/lists/words", list=f"{WORDS}no_such: 1\n", key="k3")
    nowhere = await chief.send("/admin/lists/people", list=WORDS, key="k4")

    assert len(kept(course, Audit, event="words_imported", person_id="chief")) == 1
    assert wrong.status_code == 422 and "3: no_such" in wrong.text
    assert "待补充" in wrong.text  # nothing typed is lost
    assert nowhere.status_code == 404
    assert "2027" in words_of(await chief.see("/admin/lists"))


async def test_trace_is_searched_and_verified(browser, course):
    course.decide("afforest_head", "unit_review")
    auditor = browser("auditor_a")
    number = course.row().number

    page = words_of(await auditor.see(f"/admin/audit?item={number}&event=decided"))
    nobody = words_of(await auditor.see("/admin/audit?person=fire_head"))
    verified = await auditor.send("/admin/audit/verify")

    assert f"{number} 作出意见 afforest_head" in page
    assert "没有符合条件的记录。" in nobody
    assert "✓ 完好" in verified.text
    assert TITLE not in page


async def test_every_event_of_a_plain_course_has_its_word(browser, course):
    course.publish(course.run())

    page = await browser("auditor_a").see("/admin/audit")

    assert re.findall(r"event\.\w+", page) == []


async def test_health_says_what_is_missing(browser, course):
    page = words_of(await browser("admin").see("/admin/health"))

    assert "台账 ✓ 正常" in page and "流程引擎 ! 要处理 not configured" in page
    assert "待告知引擎" in page and "待发邮件" in page


# --- verify ---------------------------------------------------------------------------------------


async def asked(browser, number, title=TITLE, body=BODY, file=None):
    data = {"number": number, "title": title, "body": body}
    files = {"file": file or ("", b"")}
    return await browser().client.post("/verify", data=data, files=files)


async def test_published_text_is_known_again_and_a_changed_one_is_not(browser, course):
    course.publish(course.run())
    number = course.row().number

    same = await asked(browser, number)
    copied = await asked(browser, number, body=BODY.replace("。", "。\r\n\r\n", 1))
    changed = await asked(browser, number, body=BODY.replace("3个", "4个"))
    other = await asked(browser, "2026-99999")

    assert "✓ 一致" in same.text and "✓ 一致" in copied.text
    assert "✗ 不一致" in changed.text and "✗ 不一致" in other.text


async def test_text_that_is_not_public_is_like_one_that_is_not_there(browser, course):
    course.run("final_review")
    number = course.row().number

    hidden = await asked(browser, number)
    unknown = await asked(browser, "2026-99999")

    assert hidden.text.replace(number, "N") == unknown.text.replace("2026-99999", "N")
    first, second = dict(hidden.headers), dict(unknown.headers)
    for name in ("x-request-id", "content-length"):
        first.pop(name, None), second.pop(name, None)
    assert first == second


async def test_what_was_taken_back_is_said_to_be(browser, course):
    course.publish(course.run())
    course.act("deputy_b", "retract", reason="数据有误")
    course.publish()

    assert "一致，但已撤稿" in (await asked(browser, course.row().number)).text


async def test_markdown_marks_make_no_difference(browser, quick_ledger, course):
    marked = Course(
        quick_ledger, title="秋季林草种苗质量抽检开始了", body="**抽检**开始。\n\n- 一\n- 二"
    )
    marked.turn()
    marked.publish(marked.run())
    number = marked.row().number

    assert (
        "✓ 一致"
        in (await asked(browser, number, "秋季林草种苗质量抽检开始了", "抽检开始。 一 二")).text
    )


async def test_file_is_compared_by_its_first_line_and_the_rest(browser, course):
    course.publish(course.run())
    number = course.row().number
    content = f"\ufeff# {TITLE}\r\n\r\n{BODY}\r\n".encode()

    good = await asked(browser, number, "", "", ("text.md", content))
    odd = await asked(browser, number, "", "", ("text.exe", content))
    binary = await asked(browser, number, "", "", ("text.txt", b"\xff\xfe\x00"))
    empty = await asked(browser, number, "", "")

    assert "✓ 一致" in good.text
    assert [one.status_code for one in (odd, binary, empty)] == [422, 422, 422]


async def test_many_questions_from_one_address_have_to_wait(browser, course):
    for _ in range(30):
        assert (await asked(browser, "2026-1")).status_code == 200

    refused = await asked(browser, "2026-1")

    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0


async def test_too_long_a_text_is_refused_before_it_is_read(browser, course):
    assert (await asked(browser, "2026-1", body="字" * 400_000)).status_code == 413


async def test_form_bears_a_code_that_leads_to_the_check(browser, course):
    number = course.row().number

    form = await browser("afforest_info").see(f"/api/v1/submissions/{course.id}/form.html")
    page = await browser().see(f"/verify/{number}")

    assert f"http://test/verify/{number}" in form and "<svg" in form
    assert f'value="{number}"' in page
