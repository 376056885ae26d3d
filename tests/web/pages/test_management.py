"""Orders, incidents and cases on their pages and by the interface, without script."""

import re
from datetime import timedelta

import httpx
import pytest

from review.acts import incidents, supervising, violations
from review.records.access import issue_token
from review.records.matters import Order
from review.rules.matters import (
    KINDS,
    IncidentKind,
    IncidentState,
    OrderState,
    ViolationResult,
    ViolationState,
)
from review.texts import LANGUAGES, catalogue
from tests.acting import Course
from tests.acts.test_matters import Office
from tests.web.pages.conftest import words_of

ADDRESS = re.compile(r"/(?:orders|incidents|violations)/[0-9a-v]{26}")


def form_of(page: str, act: str) -> dict[str, str]:
    """Return the hidden fields of the form that does an act."""
    inside = re.search(rf'name="key" value="([^"]*)"><input [^>]*name="act" value="{act}"', page)
    assert inside, page
    return {"act": act, "key": inside[1]}


async def test_order_goes_its_way_by_forms_alone(browser, quick_ledger):
    chief, unit = browser("chief"), browser("afforest_head")
    sent = await chief.send(
        "/orders", unit="afforest", subject="造林数据未按要求及时发布", key="once", due_at=""
    )
    assert sent.status_code == 303 and ADDRESS.fullmatch(sent.headers["location"])
    again = await chief.send(
        "/orders", unit="afforest", subject="造林数据未按要求及时发布", key="once", due_at=""
    )
    assert again.headers["location"] == sent.headers["location"]
    path = sent.headers["location"]

    page = await unit.see(path)
    assert "督办〔2026〕1号" in words_of(page)
    assert "签发督办单" not in words_of(await unit.see("/orders"))
    for act, text in (("sign", ""), ("reply", "正在补报"), ("rectify", "已补报")):
        fields = form_of(await unit.see(path), act) | {"text": text}
        assert (await unit.send(f"{path}/acts", **fields)).status_code == 303
    fields = form_of(await chief.see(path), "close") | {"text": "整改到位"}
    assert (await chief.send(f"{path}/acts", **fields)).status_code == 303

    words = words_of(await unit.see(path))
    assert "已办结" in words and "正在补报" in words and "整改到位" in words
    assert len(Office(quick_ledger).rows(Order)) == 1


async def test_refused_form_keeps_what_was_typed(browser):
    chief = browser("chief")

    answer = await chief.send(
        "/orders", unit="nowhere", subject="造林数据未按要求及时发布", key="k"
    )

    assert answer.status_code == 422
    assert "没有这个单位" in answer.text and "造林数据未按要求及时发布</textarea>" in answer.text


async def test_empty_reply_is_told_by_its_field(browser, quick_ledger, course):
    order = Office(quick_ledger, course.now).order()["id"]
    unit = browser("afforest_head")

    answer = await unit.send(f"/orders/{order}/acts", act="reply", text=" ", key="k")

    assert answer.status_code == 422 and "说明" in words_of(answer.text)


async def test_what_people_wrote_is_shown_as_text(browser, quick_ledger, course):
    office = Office(quick_ledger, course.now)
    order = office.order(subject="<script>alert(1)</script>造林数据")["id"]
    office.on_order(order, "afforest_head", "reply", text="<img src=x onerror=alert(1)>")

    page = await browser("chief").see(f"/orders/{order}")

    assert "<script>alert" not in page and "<img src=x" not in page


async def test_incident_page_says_what_it_does_not_replace(browser, quick_ledger, course):
    """T-13: submitting here does not replace reporting the incident."""
    duty = browser("duty")
    assert "不代替按预案报告突发事件" in words_of(await duty.see("/incidents"))
    sent = await duty.send(
        "/incidents", title="某林场发生森林火情", kind="fire", level="major", unit="fire",
        event_at="2026-11-23T08:00", key="k", place="", reported_to="省森防指 08:10 电话",
    )  # fmt: skip
    path = sent.headers["location"]
    Course(
        quick_ledger, "fire_info", now=course.now, category="emergency", level="major",
        event_time=course.now, incident="事件〔2026〕1号", title="某林场火情处置情况",
    )  # fmt: skip

    words = words_of(await duty.see(path))

    assert "不代替按预案报告突发事件" in words and "首报" in words
    assert "尚未登记由谁授权发布" in words and "2026年11月23日 13:00" in words
    fields = form_of(await duty.see(path), "authorise")
    await duty.send(f"{path}/acts", authority="省森防指", reference="冀森防8号", **fields)
    assert "省森防指 冀森防8号" in words_of(await duty.see(path))


async def test_unit_learns_of_a_lead_only_when_its_statement_is_asked_for(
    browser, quick_ledger, course
):
    lead = Office(quick_ledger, course.now).lead()["id"]
    head = browser("afforest_head")
    assert "线索〔2026〕1号" not in await head.see("/violations")
    await head.see(f"/violations/{lead}", status=404)

    chief = browser("chief")
    fields = form_of(await chief.see(f"/violations/{lead}"), "take_up")
    await chief.send(f"/violations/{lead}/acts", text="", **fields)

    assert "待单位说明" in words_of(await head.see(f"/violations/{lead}"))


async def test_chain_of_responsibility_is_a_page_to_print(browser, quick_ledger, course):
    published = Course(quick_ledger, now=course.now, title="国家级森林公园名录更新")
    published.publish(published.run())
    course.now = published.now
    lead = Office(quick_ledger, course.now).lead(submission=published.id)["id"]

    words = words_of(await browser("auditor_a").see(f"/violations/{lead}/chain"))

    places = [words.index(word) for word in ("撰写", "审核", "校对", "终审授权", "发布 ·")]
    assert places == sorted(places) and "afforest_info" in words and "publisher_a" in words


async def test_text_that_must_be_stopped_is_kept_nowhere(browser, quick_ledger):
    """R1.3-4 holds for every text, not for submissions alone."""
    chief = browser("chief")

    answer = await chief.send(
        "/orders", unit="afforest", subject="本单位机密★5年文件未及时发布", key="k"
    )

    assert answer.status_code == 409
    assert Office(quick_ledger).rows(Order) == []


async def test_interface_opens_acts_and_lists(app, quick_ledger, course):
    tokens = {
        person: quick_ledger.write(issue_token, person, "t", course.now)
        for person in ("chief", "afforest_head", "forest_head")
    }

    async def ask(person, method, path, body=None):
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test",
            headers={"Authorization": f"Bearer {tokens[person]}", "Idempotency-Key": "k" + path},
        ) as client:  # fmt: skip
            return await client.request(method, f"/api/v1{path}", json=body)

    body = {"unit": "afforest", "subject": "造林数据未按要求及时发布"}
    first = await ask("chief", "POST", "/supervision-orders", body)
    again = await ask("chief", "POST", "/supervision-orders", body)
    assert first.status_code == 201 and first.json() == again.json() | {"delivered": False}
    path = f"/supervision-orders/{first.json()['id']}"
    assert (await ask("forest_head", "GET", path)).status_code == 404
    assert (await ask("forest_head", "GET", "/supervision-orders")).json()["items"] == []
    signed = await ask("afforest_head", "POST", f"{path}/acts", {"act": "sign"})
    assert signed.status_code == 200
    wrong = await ask("chief", "POST", f"{path}/acts", {"act": "close", "text": "办结"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "wrong_state")
    shown = (await ask("afforest_head", "GET", path)).json()
    assert [one["event"] for one in shown["entries"]] == ["issue", "sign"]
    assert shown["allowed_actions"] == ["reply", "rectify"]


async def test_lists_go_on_where_a_page_ends(browser, quick_ledger, course):
    office = Office(quick_ledger, course.now)
    for _ in range(51):
        office.order()
        office.now += timedelta(seconds=1)

    page = await browser("chief").see("/orders")

    more = re.search(r'href="(/orders\?after=[^"]+)"', page)
    assert more and page.count("/orders/0") == 50
    assert (await browser("chief").see(more[1])).count("/orders/0") == 1


async def test_proposal_of_the_system_says_why_in_words(browser, course):
    course.turn()
    for _ in range(40):
        course.wait(hours=4)
    chief = browser("chief")

    path = ADDRESS.search(await chief.see("/orders"))
    words = words_of(await chief.see(path[0]))

    assert "稿件逾期，最后一次升级后仍未办理 · 自审" in words and "系统建议" in words
    fields = form_of(await chief.see(path[0]), "issue") | {"subject": "尽快办理自审"}
    assert (await chief.send(f"{path[0]}/acts", **fields)).status_code == 303
    assert "督办〔2026〕1号" in words_of(await chief.see(path[0]))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_of_a_matter_has_its_words(language):
    known = catalogue(language)
    codes = [
        *(f"order_state.{one}" for one in OrderState),
        *(f"incident_state.{one}" for one in IncidentState),
        *(f"violation_state.{one}" for one in ViolationState),
        *(f"violation_kind.{one}" for one in KINDS),
        *(f"violation_result.{one}" for one in ViolationResult),
        *(f"incident_kind.{one}" for one in IncidentKind),
        *(f"matter_cause.{one}" for one in (
            "overdue", "stale", "person", "order", "expired", "drift", "uncovered",
        )),
        *(
            f"{kind}_{act}"
            for kind, module in (
                ("event.supervision", supervising), ("event.incident", incidents),
                ("event.violation", violations),
            )
            for act in module.TERMS
        ),
        *(f"matter_event.{act}" for m in (supervising, incidents, violations) for act in m.TERMS),
    ]  # fmt: skip

    assert [code for code in codes if code not in known] == []


async def test_what_waits_for_a_person_stands_in_the_inbox(browser, quick_ledger, course):
    office = Office(quick_ledger, course.now)
    order = office.order()["id"]
    proposed = office.order("supervisor_a", unit="fire")["id"]
    lead = office.lead()["id"]
    incident = office.incident(ago=1)["id"]
    people = (
        "afforest_head", "forest_head", "chief", "reviewer_b", "duty", "fire_info", "leader_eco",
        "auditor_a",
    )  # fmt: skip

    async def waits() -> dict[str, set[str]]:
        return {one: set(ADDRESS.findall(await browser(one).see("/"))) for one in people}

    order, proposed = f"/orders/{order}", f"/orders/{proposed}"
    case, event = f"/violations/{lead}", f"/incidents/{incident}"
    none: set[str] = set()
    assert await waits() == {
        "afforest_head": {order}, "forest_head": none, "chief": {proposed, case, event},
        "reviewer_b": {proposed}, "duty": {event}, "fire_info": {event}, "leader_eco": none,
        "auditor_a": none,
    }  # fmt: skip
    office.on_case(lead, "chief", "take_up")
    office.on_order(order.rpartition("/")[2], "afforest_head", "rectify", text="已补报")
    office.on_order(proposed.rpartition("/")[2], "chief", "dismiss", text="不必督办")
    office.on_incident(incident, "duty", "close", text="误报")
    assert await waits() == {
        "afforest_head": {case}, "forest_head": none, "chief": {order}, "reviewer_b": {order},
        "duty": none, "fire_info": none, "leader_eco": none, "auditor_a": none,
    }  # fmt: skip
    office.on_case(lead, "afforest_head", "state", text="说明")
    assert (await waits())["leader_eco"] == {case}


async def test_review_quality_is_a_trend_with_its_definition_and_a_sample(browser, course):
    course.publish(course.run())
    supervisor = browser("supervisor_a")
    asked = "from=2026-11-01&to=2026-12-31"

    page = await supervisor.see(f"/quality?{asked}&seed=7")
    chart = await supervisor.client.get(f"/quality/chart.svg?{asked}")
    statistics = await supervisor.see(f"/statistics?{asked}&by=unit")

    words = words_of(page)
    assert "短于按每秒 10 字读完标题和正文所需的时间" in words and "2026-11" in words
    assert f"{course.row().number} 全省秋冬季造林绿化现场推进会召开" in words
    assert chart.headers["content-type"] == "image/svg+xml" and "自审" in chart.text
    assert "/quality?from=2026-11-01" in statistics
    assert "/quality?" not in await browser("chief").see(f"/statistics?{asked}&by=unit")
    assert (await browser("chief").client.get("/quality")).status_code == 403
