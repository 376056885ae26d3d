"""The page of other systems: secrets are shown once, messages can be sent again."""

import re

import pytest
from sqlmodel import select

from review.acts import announcing
from review.records.hook_tables import HookEndpoint, HookKey, HookPost
from review.records.tables import PersonRow
from tests.web.pages.conftest import words_of


def kept(course, table):
    with course.ledger.reading() as session:
        return list(session.exec(select(table)))


async def test_key_is_issued_changed_and_retired_and_its_secret_shown_once(browser, course):
    security = browser("security")

    first = await security.send(
        "/admin/hooks/add_key", name="oa", roles="unit_head", steps="unit_review", key="k1"
    )
    again = await security.send(
        "/admin/hooks/add_key", name="oa", roles="unit_head", steps="unit_review", key="k1"
    )
    changed = await security.send("/admin/hooks/change_key", id="oa", key="k2")

    (secret,) = re.findall(r"whsec_[\w+/=]+", first.text)
    assert secret not in again.text and "不再显示" in again.text
    assert len(re.findall(r"whsec_[\w+/=]+", changed.text)) == 1
    rows = kept(course, HookKey)
    assert len(rows) == 2 and rows[0].roles == ["unit_head"]
    await security.send("/admin/hooks/retire_key", id=rows[0].id, key="k3")
    page = words_of(await security.see("/admin/hooks"))
    assert "已作废" in page and "有效" in page and "whsec_" not in page


async def test_endpoint_is_registered_and_its_messages_sent_again(browser, course):
    security = browser("security")
    made = await security.send(
        "/admin/hooks/add_endpoint", name="oa", url="https://oa.example/todos",
        events="todo.opened", key="k1",
    )  # fmt: skip
    assert "whsec_" in made.text
    course.turn()
    course.ledger.write(announcing.announce, course.now, "https://sanshen.example")
    (post, *_) = kept(course, HookPost)

    page = words_of(await security.see("/admin/hooks"))
    assert "待办产生" in page and course.row().number in page
    assert course.row().title not in page, "who runs the house's keys sees no content"
    again = await browser("admin").send("/admin/hooks/send_again", id=post.id, key="k2")
    assert again.headers["location"] == "/admin/hooks"
    (row,) = kept(course, HookEndpoint)
    await security.send("/admin/hooks/pause", id=row.id, key="k3")
    assert "已暂停" in await security.see("/admin/hooks")


@pytest.mark.parametrize("url", ["", "ftp://oa", "https://user@oa/", "javascript:alert(1)"])
async def test_wrong_address_is_told_beside_the_form(browser, course, url):
    answer = await browser("security").send("/admin/hooks/add_endpoint", name="oa", url=url)

    assert answer.status_code == 422
    assert kept(course, HookEndpoint) == []


async def test_others_see_nothing_and_readers_change_nothing(browser, course):
    await browser("chief").see("/admin/hooks", 403)
    assert "签发密钥" not in words_of(await browser("auditor_a").see("/admin/hooks"))

    refused = await browser("auditor_a").send("/admin/hooks/add_key", name="oa", key="k1")

    assert refused.status_code == 403
    assert kept(course, HookKey) == []


async def test_oa_account_is_said_on_a_persons_page(browser, course):
    security = browser("security")

    await security.send("/admin/people/fire_head/oa_account", oa_account="oa10023", key="k1")

    assert "oa10023" in await security.see("/admin/people/fire_head")
    assert {p.id: p.oa_account for p in kept(course, PersonRow)}["fire_head"] == "oa10023"
