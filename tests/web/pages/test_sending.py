"""Going out: third proof per channel, the authorisation, and what a channel needs somebody for."""

import pytest

from review.rules.values import PublicationState
from tests.acting import Course
from tests.web.pages.conftest import words_of


async def test_third_proof_reads_each_channel_and_is_recorded(browser, course):
    course.run("proof3_publish")
    publisher = browser("publisher_a")

    page = await publisher.see(f"/items/{course.id}")
    answer = await publisher.decide(course.id, verdict="approve", checklist=["proof3.site"])

    assert '<details class="channel" open>' in page and "已按这个渠道的样子校对" in page
    assert answer.status_code == 303
    assert course.item(lambda item: item.decisions[-1].checklist) == {"proof3.site": True}


async def test_authorisation_is_shown_with_channels_and_validity(browser, course):
    course.run("proof3_publish")

    page = words_of(await browser("publisher_a").see(f"/items/{course.id}"))

    assert "授权 chief" in page and "有效至" in page and "site 尚未发送" in page


async def test_published_channel_says_where_and_can_be_taken_down(browser, course):
    course.publish(course.run(), url="https://example.gov.cn/1.html")
    publisher = browser("publisher_a")

    page = await publisher.see(f"/items/{course.id}")
    form = await publisher.see(f"/items/{course.id}/acts/retract?channel=site")
    without = await publisher.send(f"/items/{course.id}/acts/retract", key="k1", channels="site")
    answer = await publisher.send(
        f"/items/{course.id}/acts/retract", key="k2", channels="site", reason="内容有误"
    )

    assert "https://example.gov.cn/1.html" in page and "已发布" in words_of(page)
    assert 'name="channels" value="site" checked' in form
    assert "原页面换成撤稿说明" in words_of(form)  # what stays behind, channel by channel
    assert without.status_code == 422 and "理由" in without.text
    assert answer.status_code == 303
    course.publish()
    assert course.row().status == "retracted"


async def test_failed_channel_needs_somebody_and_is_sent_again(browser, course):
    course.publish(course.run(), state=PublicationState.FAILED, detail="rendered_differs")
    publisher = browser("publisher_a")

    listed = words_of(await publisher.see("/publishing"))
    page = await publisher.see(f"/items/{course.id}")
    answer = await publisher.send(
        f"/items/{course.id}/acts/retry_channel", key="k1", channel="site"
    )

    assert "须处理 1" in listed and "site 发布失败 页面与三校时所见不一致" in listed
    assert f"/items/{course.id}/acts/retry_channel?channel=site" in page
    assert answer.status_code == 303
    assert course.item(lambda item: len(item.publications())) == 2


@pytest.mark.parametrize(("published", "state"), [("true", "live"), ("false", "failed")])
async def test_person_says_what_became_of_an_unknown_publication(browser, course, published, state):
    course.publish(course.run(), state=PublicationState.UNKNOWN)
    publisher = browser("publisher_a")

    page = await publisher.see(f"/items/{course.id}")
    unsaid = await publisher.send(
        f"/items/{course.id}/acts/resolve_unknown", key="k1", channel="site"
    )
    answer = await publisher.send(
        f"/items/{course.id}/acts/resolve_unknown", key="k2", channel="site", published=published
    )

    assert "结果未知" in page and "核实发布结果" in page
    assert unsaid.status_code == 422 and "实际情况" in unsaid.text
    assert answer.status_code == 303
    assert course.item(lambda item: item.publications()[-1].state) == state


async def test_lists_by_state_are_for_those_who_send(browser, course):
    course.publish(course.run())

    assert course.row().title in await browser("publisher_a").see("/publishing?tab=published")
    assert course.row().title not in await browser("publisher_a").see("/publishing?tab=authorised")
    assert "没有这样的稿件" in await browser("chief").see("/publishing?tab=published&q=无此题")
    await browser("afforest_info").see("/publishing", 403)


async def test_operator_is_shown_only_its_own_channels_trouble(browser, course):
    course.publish(course.run(), state=PublicationState.FAILED)

    assert course.row().title in await browser("publisher_a").see("/publishing")
    assert course.row().title not in await browser("pest_operator").see("/publishing")


async def test_block_is_waived_by_the_role_that_the_rule_names_with_a_reason(
    browser, quick_ledger, course
):
    course = Course(
        quick_ledger, title="转载一篇不在名单上的稿件",
        source={"type": "repost", "name": "某自媒体", "url": "https://example.com/1"},
    )  # fmt: skip
    course.turn()
    chief, head = browser("chief"), browser("afforest_head")

    page = await chief.see(f"/items/{course.id}")
    assert "acts/waive" not in await head.see(f"/items/{course.id}")
    finding = page.split("acts/waive?finding=", 1)[1].split('"', 1)[0]
    form = await chief.see(f"/items/{course.id}/acts/waive?finding={finding}")
    without = await chief.send(f"/items/{course.id}/acts/waive", key="k1", finding=finding)
    answer = await chief.send(
        f"/items/{course.id}/acts/waive", key="k2", finding=finding, reason="已与来源核实"
    )

    assert "白名单" in form and f'value="{finding}"' in form
    assert without.status_code == 422
    assert answer.status_code == 303
    assert "已豁免 ： chief ，已与来源核实" in words_of(
        await head.see(f"/items/{course.id}")
    ).replace("已豁免：chief，", "已豁免 ： chief ，")
