"""Every rule of requirements 7: what it finds, what it leaves alone, what 6.2 promises."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from review.lists import builtin_sources, builtin_words, load_sources, load_words
from review.rules.screening import Finding, Lists, Other, Screener, Text, figures_of, sketch
from review.rules.screening.lists import Leader
from review.texts import LANGUAGES, catalogue
from starter.demo.bureau import data_file

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=8)))
ID = "130100190001010011"  # a synthetic number: its area code is not issued to persons
CARD = "6222020000000000000"
LEADERS = (
    Leader(name="王小明", title="党组书记、局长", place=1),
    Leader(name="李大海", title="副局长", place=2),
    Leader(name="赵建国", title="总工程师", place=3),
)
LISTS = Lists(
    words=load_words(builtin_words()).model_copy(update={"leaders": LEADERS}),
    sources=load_sources(builtin_sources()),
)
SCREENER = Screener(LISTS)
PROMISED = {  # requirements 6.2
    "D01": [], "D02": ["MOBILE"], "D03": [], "D04": ["BANK_CARD", "ID_NUMBER"], "D05": [],
    "D06": [], "D07": [], "D08": [], "D09": ["HEARSAY", "REPOST_SUSPECTED"],
    "D10": ["CLASSIFIED_MARK"],
    "D11": ["FIXED_EXPRESSION", "LEADER_TITLE", "PLACEHOLDER", "TYPO"],
    "D12": ["AI_LABEL", "SHORT_LINK"], "B1": ["SPECIES_LOCATION"], "B2": ["FIGURE_MISMATCH"],
}  # fmt: skip
USUAL = [
    "保守国家秘密是公民的义务，商业秘密受法律保护，工作秘密管理办法已经印发。",
    "联系电话：0311-88607000，传真0311-88607001，邮编050081。",
    "总投资13800138000元，其中中央资金1260万元，完成造林82万亩、栽植苗木15012345678株。",
    "手机138****1234，身份证号13*************011，卡号尾号0000。",
    "会议于11月18日（星期三）召开，2026年11月20日结束，2027年1月1日起施行。",
    "增强“四个意识”、坚定“四个自信”、做到“两个维护”，深刻领悟“两个确立”的决定性意义。",
    "践行绿水青山就是金山银山理念，守护绿水青山，坚持人与自然和谐相处。",
    "局长王小明主持会议，副局长李大海、总工程师赵建国参加。王小明、李大海、赵建国先后发言。",
    "经费来源：财政拨款。数据来自第三次全国国土调查。",
    "加强森林防火，严禁携带火种进山，防止发生森林火灾。",
    "严防松材线虫病疫情扩散，做好检疫封锁。",
    "地址：石家庄市裕华区建华大街666号，电话0311-12345678。",
    "林场职工王某某说，今年栽了3×4米的株行距，合格率95.5%。",
    "保护珍稀濒危野生动植物，褐马鸡种群数量稳定增长。",
    "人工智能生成内容管理要求印发，各单位学习贯彻。",
    "文号：冀林字〔2026〕35号；统一社会信用代码11130000000218434J。",
    "详见省政府网站 https://www.hebei.gov.cn/a/b.html?id=20261122 。",
    "四个自我：自我净化、自我完善、自我革新、自我提高，强调“四个自我”。",
    "关于A、B、C三类地区的通知，执行标准GB/T 18337.3-2001，气温-5～3℃。",
]


def screen(body: str, *, now: datetime = NOW, title: str = "关于有关情况的说明", **more) -> list:
    fields = {"title": title, "body": body} | more.pop("fields", {})
    return list(SCREENER.screen(Text(fields=fields, **more), now))


def rules(body: str, **more) -> list[str]:
    return [finding.rule for finding in screen(body, **more)]


def only(body: str, **more) -> Finding:
    [finding] = screen(body, **more)
    return finding


def demo_text(sample: dict, bodies: dict[str, str]) -> Text:
    return Text(
        fields={name: str(sample.get(name, "")) for name in ("title", "body", "audience")},
        linked=tuple(
            Other(number=one, figures=figures_of(bodies[one])) for one in sample.get("linked", ())
        ),
        **{
            name: sample[name]
            for name in ("category", "kind", "source", "ai_generated", "authority_reference")
            if name in sample
        },
    )


@pytest.mark.parametrize("name", PROMISED)
def test_samples_have_exactly_what_they_promise(name):
    """6.2; D05 and D06 carry the reference that lifts their finding."""
    every = {sample["id"]: sample for sample in SAMPLES}
    text = demo_text(every[name], {key: one["body"] for key, one in every.items()})

    assert sorted({one.rule for one in SCREENER.screen(text, NOW)}) == PROMISED[name]


@pytest.mark.parametrize("name", ["D05", "D06"])
def test_fires_need_the_reference_of_who_released_them(name):
    """A-27."""
    sample = next(one for one in SAMPLES if one["id"] == name) | {"authority_reference": " "}
    bodies = {one["id"]: one["body"] for one in SAMPLES}

    [finding] = SCREENER.screen(demo_text(sample, bodies), NOW)

    assert (finding.rule, finding.severity, finding.waiver) == ("FIRE_AUTHORITY", "block", "")


@pytest.mark.parametrize("body", USUAL)
def test_usual_text_has_no_finding(body):
    assert screen(body) == []


@pytest.mark.parametrize(
    ("body", "rule", "severity", "waiver"),
    [
        ("秘密★1年", "CLASSIFIED_MARK", "stop", ""),
        ("絕密☆", "CLASSIFIED_MARK", "stop", ""),
        ("**秘密** ★", "CLASSIFIED_MARK", "stop", ""),
        ("&#31192;密&starf;", "CLASSIFIED_MARK", "stop", ""),
        ("\n\n  密 级：机密\n正文", "CLASSIFIED_MARK", "stop", ""),
        ("内部资料，不要转发", "INTERNAL_MARK", "block", "office_reviewer"),
        ("此 件 不 公 开", "INTERNAL_MARK", "block", "office_reviewer"),
        (f"身份证{ID}", "ID_NUMBER", "stop", ""),
        (f"1 {ID}", "ID_NUMBER", "stop", ""),
        (f"{ID} 1", "ID_NUMBER", "stop", ""),
        ("130100**19000101**0011", "ID_NUMBER", "stop", ""),
        ("身份证130104700101001", "ID_NUMBER", "warn", ""),
        (f"账号{CARD}", "BANK_CARD", "stop", ""),
        ("6222 0200 0000 0000 000", "BANK_CARD", "stop", ""),
        ("卡号4111-1111-1111-1111", "BANK_CARD", "stop", ""),
        ("电话13800138000", "MOBILE", "warn", ""),
        ("电话138-0013-8000", "MOBILE", "warn", ""),
        ("家住幸福村3组12号", "ADDRESS", "warn", ""),
        ("住在阳光小区3号楼2单元501室", "ADDRESS", "warn", ""),
        ("局党组书计讲话", "LEADER_TITLE", "warn", ""),
        ("副局长王小明讲话", "LEADER_TITLE", "warn", ""),
        ("局长王小朋讲话", "LEADER_TITLE", "warn", ""),
        ("李大海、王小明参加", "LEADER_TITLE", "warn", ""),
        ("坚定“四个意识”", "FIXED_EXPRESSION", "warn", ""),
        ("做到“两个维扩”", "FIXED_EXPRESSION", "warn", ""),
        ("习近平新时代中国特色社会主思想", "FIXED_EXPRESSION", "warn", ""),
        ("绿水青山就是金山很山", "FIXED_EXPRESSION", "warn", ""),
        ("焚烧秸 杆", "TYPO", "warn", ""),
        ("在××县召开", "PLACEHOLDER", "warn", ""),
        ("金额XXX万元", "PLACEHOLDER", "warn", ""),
        ("人数TODO", "PLACEHOLDER", "warn", ""),
        ("据新华社报道，", "REPOST_SUSPECTED", "warn", ""),
        ("正文。\n来源：河北日报", "REPOST_SUSPECTED", "warn", ""),
        ("网传要砍树", "HEARSAY", "warn", ""),
        ("某地森林火灾造成2人受伤", "FIRE_AUTHORITY", "block", ""),
        ("松材线虫病新增疫点3个", "PEST_AUTHORITY", "block", ""),
        ("兰科植物位于114.1234，40.1234", "SPECIES_LOCATION", "block", "supervising_leader"),
        ("大鸨夜栖地位于某村", "SPECIES_LOCATION", "block", "supervising_leader"),
        ("见 t.cn/demo", "SHORT_LINK", "warn", ""),
        ("见 https://item.taobao.com/1", "LINK_HOST", "warn", ""),
        ("见 http://gov.cn.evil.example/", "LINK_HOST", "warn", ""),
        ("见 https://www.gov.cn@198.51.100.7/", "LINK_HOST", "warn", ""),
        ("配图由AI 生成", "AI_LABEL", "block", ""),
        ("2月30日召开", "STALE", "warn", ""),
        ("11月18日（星期四）召开", "STALE", "warn", ""),
        ("11月25日，会议召开。", "STALE", "warn", ""),
    ],
)
def test_rule_finds(body, rule, severity, waiver):
    """Requirements 7."""
    finding = only(body)

    assert (finding.rule, finding.severity, finding.waiver) == (rule, severity, waiver)


def test_what_is_found_says_what_to_write_instead():
    assert only("焚烧秸杆").suggest == "秸秆"
    assert only("副局长王小明讲话").suggest == "党组书记、局长"
    assert only("局长王小朋讲话").suggest == "王小明"
    assert only("11月18日（星期四）").suggest == "星期三"


def test_titles_and_expressions_are_grave_warnings():
    assert all(one.high for one in screen("局党组书计：坚定“四个意识”"))


def test_mobile_numbers_block_in_lists_of_names():
    finding = only("张××，13800138000", title="兑付名单公示情况")

    assert (finding.severity, finding.waiver) == ("block", "center_deputy")
    assert finding.quote == "138****8000"


def test_numbers_of_the_house_are_not_published():
    assert screen("正文", fields={"contact": "13800138000"}) == []
    assert [one.rule for one in screen("正文", fields={"contact": ID})] == ["ID_NUMBER"]


def test_placeholders_block_in_the_final_version():
    assert (only("在××县", final=True).severity, only("在××县", final=True).waiver) == (
        "block",
        "center_deputy",
    )
    assert screen("联系人：张××", final=True) == []


REPOST = {"type": "repost", "name": "新华社", "url": "https://www.news.cn/a"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"name": "新 华 网"}, []),
        ({"name": ""}, ["REPOST_NO_SOURCE"]),
        ({"url": ""}, ["REPOST_NO_SOURCE"]),
        ({"name": "某自媒体"}, ["REPOST_OFF_LIST"]),
        ({"url": "https://news.cn.example/a"}, ["REPOST_OFF_LIST"]),
        ({"name": "保定市人民政府", "url": "https://www.baoding.gov.cn/a"}, []),
    ],
)
def test_reposts_need_a_listed_source(change, expected):
    """RA1-8, A-12."""
    assert rules("正文", source=REPOST | change) == expected


def test_off_list_sources_are_waived_by_the_center_chief():
    finding = only("正文", source=REPOST | {"name": "某自媒体"})

    assert (finding.severity, finding.waiver) == ("block", "center_chief")


def test_unified_release_equals_its_original():
    """R3.2-5."""
    source = {"type": "unified_release", "name": "新华社", "original_body": "今年造林\n82万亩。"}

    assert rules("今年 造林82万亩。", source=source) == []
    finding = only("今年造林83万亩。", source=source)
    assert (finding.rule, finding.start, finding.end) == ("RELEASE_ALTERED", 5, 6)


def test_hearsay_is_told_in_answers_to_opinion():
    assert rules("网传要砍树", category="public_opinion") == []


def test_reference_of_the_authority_lifts_the_block():
    assert rules("森林火灾过火面积2亩", authority_reference="省森防指办〔2026〕1号") == []


def test_maps_need_a_review_number():
    map_ = {"form": "image", "caption": "保护区分布图"}

    finding = only("正文", attachments=(map_,))
    assert (finding.rule, finding.field) == ("MAP_NUMBER", "attachments.0.map_number")
    assert rules("正文", attachments=(map_ | {"map_number": "冀S（2026）1号"},)) == []
    assert rules("正文", attachments=(map_ | {"caption": "分布图 审图号：GS(2026)1号"},)) == []


def test_ai_made_content_is_labelled_in_the_caption():
    picture = {"form": "image", "caption": "苗圃"}

    assert rules("正文", ai_generated=True, attachments=(picture,)) == ["AI_LABEL"]
    labelled = picture | {"caption": "苗圃（人工智能生成）"}
    assert rules("正文", ai_generated=True, attachments=(picture, labelled)) == []
    assert rules("本文由人工智能生成。", ai_generated=True) == []


def test_old_events_are_noted_and_coming_ones_warned_of():
    assert only("正文", event_time=NOW - timedelta(days=4)).severity == "info"
    assert only("正文", event_time=NOW + timedelta(hours=1)).severity == "warn"
    assert screen("正文", event_time=NOW - timedelta(days=3)) == []


def test_days_are_judged_in_the_bureaus_zone():
    early = datetime(2026, 11, 22, 17, tzinfo=UTC).astimezone(NOW.tzinfo)  # 23 November there

    assert rules("11月23日，会议召开。", now=early) == []


def test_near_repeats_are_found():
    body = "会议通报了今年以来国土绿化任务完成情况，要求抓住封冻前有利时机，落实地块和苗木。" * 2
    other = Other(number="2026-000001", title="旧稿", sketch=sketch(body))

    finding = only(body + "各地积极行动。", others=(other,))
    assert (finding.rule, finding.suggest) == ("DUPLICATE", "2026-000001")
    assert (
        rules("各地开展古树名木保护宣传活动，群众踊跃参加，效果良好。" * 3, others=(other,)) == []
    )


def test_figures_of_linked_items_are_compared():
    """R5.3-2."""
    other = Other(number="1", figures=figures_of("全省累计完成造林绿化76万亩，出动3人。"))

    assert only("全省完成造林绿化82万亩。", linked=(other,)).suggest == "76万亩"
    assert rules("全省完成造林绿化76.0万亩，安排5人。", linked=(other,)) == []


def test_service_items_say_for_whom_and_how_long_before_they_go_live():
    """R1.2-1."""
    given = {"audience": "企业", "how_to": "扫码", "valid_until": NOW + timedelta(days=9)}

    assert rules("正文", kind="service", final=True) == ["SERVICE_DETAILS"] * 3
    assert rules("正文", kind="service", final=True, **given) == []


def test_findings_keep_their_id_and_differ_from_each_other():
    body = "秸杆，秸杆，书计"
    first, again = screen(body), screen(body)

    assert [one.id for one in first] == [one.id for one in again]
    assert len({one.id for one in first}) == 3


def test_every_finding_has_its_advice_in_every_language():
    codes = set(catalogue("zh")) & {code for code in catalogue("en") if code.startswith("advice.")}
    found = {one.advice for body in [*BAD, *USUAL] for one in screen(body, final=True)}

    assert found <= codes
    assert all({c for c in catalogue(one) if c.startswith("advice.")} == codes for one in LANGUAGES)


SAMPLES = data_file("samples.yaml")["samples"]
BAD = [
    "局长王小朋、副局长王小明、书计",
    "李大海、王小明",
    "秸杆 ×× 内部资料 网传 t.cn/a taobao.com",
]
