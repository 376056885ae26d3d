"""Topics, reports of an incident, grades and retention on their pages, without script."""

import re
from datetime import timedelta

from review.acts import drafting
from review.records.tables import Drafted
from tests.acting import Course
from tests.acts.test_matters import Office
from tests.examples import who
from tests.web.pages.conftest import words_of
from tests.web.pages.test_management import form_of


async def test_topic_is_opened_filled_and_closed_by_forms_and_named_on_the_item(browser, course):
    editor, unit = browser("editor_a"), browser("afforest_info")
    fields = {"title": "秋冬季造林专题", "note": "", "key": "once"}
    sent = await editor.send("/topics", **fields)
    again = await editor.send("/topics", **fields)
    path = sent.headers["location"]
    assert sent.status_code == 303 and again.headers["location"] == path
    assert "设立专题" not in words_of(await unit.see("/topics"))
    assert "秋冬季造林专题" in words_of(await unit.see("/write")), "a new item may name it"

    add = form_of(await unit.see(path), "add") | {"submission": course.row().number}
    assert (await unit.send(f"{path}/acts", **add)).status_code == 303

    title = course.row().title
    assert title in words_of(await editor.see(path))
    assert "专题〔2026〕1号 秋冬季造林专题" in words_of(await unit.see(f"/items/{course.id}"))
    number = path.rpartition("/")[2]
    assert title in words_of(await editor.see(f"/items?topic={number}"))
    close = form_of(await editor.see(path), "close")
    assert (await editor.send(f"{path}/acts", **close)).status_code == 303
    refused = await unit.send(f"{path}/acts", **add | {"key": "other"})
    assert refused.status_code == 409 and "已结束" in words_of(refused.text)


async def test_report_is_begun_from_its_incident_with_the_authority_that_was_recorded(
    browser, quick_ledger, course
):
    office = Office(quick_ledger, course.now)
    incident = office.incident(ago=60)
    office.on_incident(
        incident["id"], "duty", "authorise", authority="省森防指", reference="冀森防指〔2026〕1号"
    )
    officer = browser("fire_info")

    page = await officer.see(f"/incidents/{incident['id']}")
    link = re.search(r'href="(/write\?incident=[^"]+)"', page)
    assert link is not None
    form = await officer.see(link[1])

    assert f'name="incident" maxlength="120" value="{incident["number"]}"' in form
    assert 'name="authority_reference" maxlength="200" value="冀森防指〔2026〕1号"' in form
    assert 'value="emergency" checked' in form
    other = await browser("afforest_info").see(link[1])
    assert "冀森防指" not in other and 'value="emergency" checked' not in other


async def test_grade_is_given_on_the_items_page_and_read_by_the_unit(browser, course):
    course.publish(course.run())
    editor = browser("editor_a")
    path = f"/items/{course.id}/acts/grade"
    assert path in await editor.see(f"/items/{course.id}")
    assert path not in await browser("afforest_head").see(f"/items/{course.id}")

    assert (await editor.send(path, reason="写得好", key="k1")).status_code == 422
    sent = await editor.send(path, grade="A", reason="角度新", key="k2")

    assert sent.status_code == 303
    words = words_of(await browser("afforest_info").see(f"/items/{course.id}"))
    assert "A 等" in words and "角度新" in words
    day = course.row().submitted_at.date()
    period = f"from={day - timedelta(days=2)}&to={day + timedelta(days=2)}"
    assert "采编等次" in words_of(await editor.see(f"/statistics?{period}"))


async def test_administrator_sees_whose_draft_goes_when_and_never_what_it_says(
    browser, course: Course
):
    ledger, now = course.ledger, course.now
    ledger.write(
        lambda s: drafting.keep(
            s, who(s, "afforest_info"), {"title": "没写完的稿件"}, now - timedelta(days=400)
        )
    )
    admin = browser("admin")

    assert (await admin.send("/admin/retention", key="k")).status_code == 303

    page = await admin.see("/admin/retention")
    words = words_of(page)
    assert "待清理" in words and "草稿" in words and "没写完的稿件" not in page
    assert (await browser("chief").send("/admin/retention", key="k")).status_code == 403
    with ledger.reading() as session:
        assert session.get(Drafted, "afforest_info") is not None, "reported, not removed"
