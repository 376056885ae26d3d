"""Any text can be screened; places are in it, disguises are seen through, numbers never shown."""

from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from review.lists import builtin_sources, builtin_words, load_sources, load_words
from review.rules.screening import Lists, Other, Screener, Text, screen, similar, sketch
from review.rules.screening.folding import fold

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)
SCREENER = Screener(
    Lists(words=load_words(builtin_words()), sources=load_sources(builtin_sources()))
)
ID = "130100190001010011"  # a synthetic number: its area code is not issued to persons
CARD = "6222020000000000000"
PIECES = [
    ID, CARD, "13800138000", "秘密★1年", "密级：机密", "书计", "秸杆", "【待核", "】", "××", "XX",
    "网传", "t.cn/a", "https://", "@", "2月30日", "11月18日（星期四）", "坚定“四个意识”",
    "习近平新时代", "社会主义思想", "森林火灾", "过火面积3亩", "兰科", "东经114.1234°", "&#",
    "&amp;", "&#49;", "\u200b", "★", "５", "①", "㎡", "ﬁ", "\r\n", "\n", " ", "*", "0", "\u0663",
    "内部资料", "新华社", "报道", "来源：", "家住", "小区", "单元", "村3组", "。", "，", "元",
    "\ud800", "İ", "e\u0301",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=25).map("".join)
hidden = st.sampled_from(["", "\u200b", "\u2060", "\ufeff", "\u00ad", "\ufe0f"])
usual = st.text(alphabet="全省造林绿化会议召开，。\n", max_size=30)


@settings(deadline=None, max_examples=300)
@given(texts, texts, st.booleans())
def test_any_text_is_screened_and_every_place_is_in_it(title, body, final):
    text = Text(
        fields={"title": title, "body": body, "contact": body},
        source={"type": "unified_release", "name": title, "url": body, "original_body": title},
        attachments=({"form": "image", "caption": body},),
        others=(Other(number="1", sketch=sketch(title)),),
        final=final,
    )

    findings = SCREENER.screen(text, NOW)

    assert findings == SCREENER.screen(text, NOW) == Screener(SCREENER.lists).screen(text, NOW)
    for one in findings:
        assert 0 <= one.start <= one.end <= len(text.fields.get(one.field, ""))
    assert len({one.id for one in findings}) == len(findings)


@settings(deadline=None, max_examples=300)
@given(texts)
def test_the_quick_door_and_the_screener_stop_the_same(body):
    fields = {"body": body}

    quick = screen(fields)

    full = [one for one in SCREENER.screen(Text(fields=fields), NOW) if one.severity == "stop"]
    assert sorted(one.id for one in quick) == sorted(one.id for one in full)


@given(usual, usual, st.lists(hidden, min_size=17, max_size=17), st.booleans(), st.booleans())
def test_a_disguised_identity_number_is_found_in_its_place(before, after, gaps, wide, entity):
    digits = [chr(ord(one) + 0xFEE0) if wide else one for one in ID]
    if entity:
        digits[5] = f"&#{ord(ID[5])};"
    number = digits[0] + "".join(gap + digit for gap, digit in zip(gaps, digits[1:], strict=True))

    findings = [one for one in screen({"body": before + number + after})]

    assert [(one.rule, one.start, one.end) for one in findings] == [
        ("ID_NUMBER", len(before), len(before) + len(number))
    ]


@given(usual, st.sampled_from(["绝密", "机密", "秘密"]), hidden, hidden, usual)
def test_a_disguised_marking_is_found(before, word, first, second, after):
    marked = before + word[0] + first + word[1] + second + " ★" + after

    assert [one.rule for one in screen({"body": marked})] == ["CLASSIFIED_MARK"]


@settings(deadline=None)
@given(texts, st.sampled_from([ID, CARD]), texts)
@example("", ID, f"{ID}{ID}t.cn/a")
def test_no_finding_shows_a_number_that_stops(before, number, after):
    text = Text(
        fields={"title": before, "body": f"{before}【待核{number}】甲{after}"},
        source={"type": "repost", "name": f"{before}甲{number}"},
    )
    text = text.model_copy(update={"fields": text.fields | {"source.name": f"{before}甲{number}"}})

    findings = SCREENER.screen(text, NOW)

    assert {"body", "source.name"} <= {one.field for one in findings if one.severity == "stop"}
    assert not [one for one in findings if number in one.quote or number in one.suggest]


@given(st.text(alphabet="全省造林绿化会议召开123，。 \n", max_size=200))
def test_usual_characters_stop_nothing_but_numbers(body):
    assert {one.rule for one in screen({"body": body})} <= {"ID_NUMBER", "BANK_CARD"}


@given(texts)
def test_the_plain_form_leads_back_to_the_text(body):
    folded = fold(body)

    assert len(folded.plain) == len(folded.starts) == len(folded.ends)
    assert list(folded.starts) == sorted(folded.starts)
    assert all(0 <= a < b <= len(body) for a, b in zip(folded.starts, folded.ends, strict=True))


@given(st.text(min_size=1, max_size=300), st.text(max_size=300))
def test_likeness_is_whole_with_itself_and_the_same_both_ways(one, other):
    mine, theirs = sketch(one), sketch(other)

    assert similar(mine, mine) in (0.0, 1.0)
    assert 0 <= similar(mine, theirs) == similar(theirs, mine) <= 1
