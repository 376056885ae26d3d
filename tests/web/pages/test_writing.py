"""Writing without script: the two annexes, checks, drafts, files; nothing typed is ever lost."""

import re

import pytest
from sqlmodel import select

from review.records.tables import Audit, Channel, Drafted, Submission
from tests.web.pages.conftest import words_of

TITLE = "全省秋季林草种苗质量抽检工作启动"
BODY = "11月18日，全省林草种苗质量抽检工作启动，抽检覆盖11个市。"
IDENTITY = "11010519491231002X"
MASKED = "11*************02X"
WRITTEN = {
    "title": TITLE,
    "body": BODY,
    "category": "work_news",
    "kind": "disclosure",
    "sub_type_annex1": "政务信息",
    "reposted": "no",
    "source_own": "own",
    "channels": "site",
    "secrecy_pledge": "yes",
    "proofread": "yes",
}


def typed(**changes):
    return WRITTEN | {"do": "submit", "key": "k1"} | changes


@pytest.fixture
def kept(quick_ledger):
    """A function that returns every text that the ledger keeps as a draft."""

    def read():
        with quick_ledger.reading() as session:
            return [row.typed for row in session.exec(select(Drafted))]

    return read


@pytest.fixture
def items(quick_ledger):
    """A function that returns every submission of the ledger, the newest last."""

    def read():
        with quick_ledger.reading() as session:
            return list(session.exec(select(Submission).order_by(Submission.id)))

    return read


async def test_text_is_submitted_and_its_page_says_who_has_it(browser, items):
    writer = browser("afforest_info")

    answer = await writer.send("/write", **typed())

    assert answer.status_code == 303
    row = items()[-1]
    assert (row.title, row.author_id, row.details["sub_type"]) == (
        TITLE, "afforest_info", "政务信息",
    )  # fmt: skip
    assert TITLE in await writer.see(answer.headers["location"])


async def test_form_sent_twice_is_one_submission(browser, items):
    writer, before = browser("afforest_info"), len(items())

    first = await writer.send("/write", **typed())
    second = await writer.send("/write", **typed())

    assert first.headers["location"] == second.headers["location"]
    assert len(items()) == before + 1


async def test_refusal_names_what_is_missing_and_keeps_everything_typed(browser, items):
    before = len(items())

    answer = await browser("afforest_info").send(
        "/write", title=TITLE, body=BODY, do="submit", contact="办公室座机"
    )

    assert answer.status_code == 422 and len(items()) == before
    page = words_of(answer.text)
    for missing in ("是否转载", "内容种类", "发布渠道", "保密承诺", "一校"):
        assert missing in page.split("信息类别", 1)[0], missing
    assert f'value="{TITLE}"' in answer.text and BODY in answer.text
    assert 'value="办公室座机"' in answer.text


async def test_way_of_the_text_is_told_before_it_is_submitted(browser):
    page = await browser("afforest_info").send("/write", **typed(do="look"))

    words = words_of(page.text)
    assert "提交后由谁审，最迟何时" in words
    assert "自审 afforest_head 最迟 2026年11月23日 14:01" in words
    assert "编辑与二校 editor_a、editor_b" in words


@pytest.mark.parametrize(
    ("category", "final"), [("work_news", "chief"), ("important", "leader_eco")]
)
async def test_category_decides_annex_and_way(browser, category, final):
    page = await browser("afforest_info").send("/write", **typed(do="look", category=category))

    assert f"终审 {final}" in words_of(page.text)


async def test_private_number_is_refused_marked_and_masked_with_one_press(browser, items, kept):
    writer, before = browser("afforest_info"), len(items())
    fields = typed(body=f"{BODY}联系人证件号{IDENTITY}。")

    refused = await writer.send("/write", **fields)
    mend = re.search(r'value="(mend:\w+)" data-mend="body"', refused.text)
    mended = await writer.send("/write", **(fields | {"do": mend[1]}))

    assert refused.status_code == 409 and len(items()) == before
    assert f'<mark class="mark-stop">{IDENTITY}</mark>' in refused.text
    assert MASKED in mended.text and IDENTITY not in mended.text
    assert "草稿已存" in mended.text


async def test_what_a_stop_rule_stops_is_never_kept_as_a_draft(browser, kept, quick_ledger):
    writer = browser("afforest_info")
    stopped = {"body": f"{BODY}{IDENTITY}"}, {"contact": IDENTITY}, {"how_to": "秘密★1年"}

    for changes in stopped:
        answer = await writer.send("/write/look", script=True, **typed(do="look", **changes))
        assert "没有存" in answer.text

    assert kept() == []
    with quick_ledger.reading() as session:
        assert IDENTITY not in str([row.data for row in session.exec(select(Audit))])


async def test_draft_is_kept_for_its_writer_alone_until_it_is_submitted(browser, kept):
    writer = browser("afforest_info")

    await writer.send("/write/look", script=True, **typed(do="look"))
    mine, others = await writer.see("/write"), await browser("afforest_info2").see("/write")
    await writer.send("/write", **typed())

    assert f'value="{TITLE}"' in mine and "存下的草稿" in mine
    assert TITLE not in others
    assert kept() == []


async def test_draft_can_be_thrown_away(browser, kept):
    writer = browser("afforest_info")
    await writer.send("/write", **typed(do="look"))

    await writer.send("/write", do="discard")

    assert kept() == []


async def test_repost_names_its_source_from_the_whitelist(browser, items):
    writer = browser("afforest_info")
    source = {"reposted": "yes", "source_repost": "repost"}

    page = await writer.see("/write")
    nameless = await writer.send("/write", **typed(**source))
    named = await writer.send(
        "/write",
        **typed(
            **source, key="k2", source_name="新华社", source_url="https://www.news.cn/1.html",
            source_original_title=TITLE, source_original_body=BODY,
        ),
    )  # fmt: skip

    assert '<option value="新华社">' in page
    assert nameless.status_code == 409 and "来源单位" in nameless.text
    assert named.status_code == 303
    assert items()[-1].profile == "repost_fast"


async def test_emergency_takes_its_moment_in_the_bureaus_time(browser, items):
    fields = typed(category="emergency", level="minor", sub_type_annex2="突发事件")

    without = await browser("afforest_info").send("/write", **fields)
    taken = await browser("afforest_info").send("/write", **fields, event_time="2026-11-23T08:30")

    assert without.status_code == 422 and "事发时间" in words_of(without.text)
    assert taken.status_code == 303
    row = items()[-1]
    assert row.event_time.isoformat() == "2026-11-23T00:30:00+00:00"
    assert row.details["sub_type"] == "突发事件"


async def test_live_answer_is_a_fragment_with_preview_and_marks(browser):
    answer = await browser("afforest_info").send(
        "/write/look", script=True, **typed(do="look", body="**粗** <script>x</script>")
    )

    assert "<strong>粗</strong>" in answer.text and "<script>" not in answer.text
    assert "<html" not in answer.text


@pytest.fixture
def wx(quick_ledger):
    def open_it(session):
        session.add(Channel(id="wx", name="微信", platform="wechat", operator_unit_id="center"))

    quick_ledger.write(open_it)


async def test_limits_of_the_chosen_channels_are_told_while_one_writes_and_on_the_item(
    browser, items, wx
):
    writer = browser("afforest_info")
    long = typed(title="防火" * 17, body="今天开了会。")
    alone = await writer.send("/write/look", script=True, **long | {"do": "look"})
    both = await writer.send(
        "/write/look", script=True, **long | {"do": "look", "channels": ["site", "wx"]}
    )
    assert "微信公众号最多" not in alone.text
    assert (
        f"标题 34 字，微信公众号最多 32 字，不会发布。放得下的到此为止：「{'防火' * 16}」"
        in both.text
    )

    await writer.send("/write", **long | {"channels": ["site", "wx"]})
    page = await writer.see(f"/items/{items()[-1].id}")
    assert page.count("超出上限") == page.count("标题 34 字") == 1


async def upload(writer, name, content, **fields):
    whole = {"csrf": writer.csrf} | fields
    return await writer.client.post("/write/files", data=whole, files={"file": (name, content)})


async def test_document_fills_the_text_and_goes_along(browser, items):
    writer = browser("afforest_info")
    document = f"{TITLE}\n\n第一段。\n第二段。".encode()

    page = await upload(writer, "稿件.txt", document, do="document", reposted="no", contact="座机")

    assert page.status_code == 200
    assert f'value="{TITLE}"' in page.text and "第一段。\n\n第二段。" in page.text
    assert 'value="座机"' in page.text
    id_ = re.search(r'name="attachment" value="([^"]+)"', page.text)[1]
    sent = typed(attachment=id_) | {f"form.{id_}": "document", f"caption.{id_}": "原件"}
    answer = await writer.send("/write", **sent)
    assert answer.status_code == 303
    assert "原件" in await writer.see(answer.headers["location"])


async def test_refused_file_loses_nothing_that_was_typed(browser):
    answer = await upload(
        browser("afforest_info"), "x.exe", b"MZ", do="attach", title=TITLE, body=BODY
    )

    assert answer.status_code in (415, 422)
    assert f'value="{TITLE}"' in answer.text and BODY in answer.text


async def test_file_of_another_site_or_without_the_token_is_refused(browser):
    writer = browser("afforest_info")

    without = await writer.client.post("/write/files", files={"file": ("a.txt", b"a")})
    foreign = await writer.client.post(
        "/write/files", data={"csrf": writer.csrf}, files={"file": ("a.txt", b"a")},
        headers={"Sec-Fetch-Site": "cross-site"},
    )  # fmt: skip

    assert without.status_code == foreign.status_code == 403


async def test_attachment_is_taken_off_again(browser):
    writer = browser("afforest_info")
    page = await upload(writer, "a.txt", "附表".encode(), do="attach", title=TITLE)
    id_ = re.search(r'name="attachment" value="([^"]+)"', page.text)[1]

    after = await writer.send("/write", **typed(do=f"drop:{id_}", attachment=id_))

    assert f'value="{id_}"' not in after.text


async def test_only_information_officers_write(browser):
    assert "写稿" in await browser("afforest_info").see("/")
    assert 'href="/write"' not in await browser("editor_a").see("/")
    await browser("editor_a").see("/write", 403)


async def test_english_form_speaks_english(browser):
    page = words_of(await browser("afforest_info").see("/write?lang=en"))

    assert "Who reviews it, and by when" in page
    assert not re.search(r"Submit 自审|写稿", page)
