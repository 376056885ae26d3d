"""The page is the same to the byte for the same input, and carries nothing that can act."""

import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review.rendering import exceeds, limits, published_file, render
from review.rules.publications import published_line

DIGEST = "sha256:" + "ab" * 32
LINE = published_line("宣传中心", DIGEST)
IMAGE = {"form": "image", "sha256": "cd" * 32, "media_type": "image/png", "caption": "会议现场"}


def page(body: str = "正文。", title: str = "一则标题", line=LINE, attachments=()) -> str:
    return render("website", "2026-000123", title, body, attachments, line).content.decode()


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))


def test_page_carries_number_unit_title_and_digest():
    shown = page(title="防火会议召开")

    for part in ("2026-000123", "宣传中心", "<h1>防火会议召开</h1>", DIGEST):
        assert part in shown


def test_same_input_gives_same_bytes_in_another_process():
    """R1.3-2: what was proofed is what is published."""
    code = (
        "from review.rendering import render;"
        "from review.rules.publications import published_line as l;"
        f"print(render('website', 'n', '标题', '**甲** [乙](https://a.cn \"丙\")', [{IMAGE!r}],"
        f" l('中心', {DIGEST!r})).digest)"
    )

    there = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        ).stdout.strip()
        for _ in range(2)
    ]

    line = published_line("中心", DIGEST)
    here = render("website", "n", "标题", '**甲** [乙](https://a.cn "丙")', [IMAGE], line).digest
    assert there == [here, here]


def test_repost_names_its_source():
    """R3.2-4."""
    source = {
        "type": "repost",
        "name": "新华社",
        "url": "https://www.news.cn/a",
        "original_title": "原来的题目",
        "original_on": "2026-11-20",
    }

    shown = page(line=published_line("宣传中心", DIGEST, source))

    assert '来源：<a href="https://www.news.cn/a"' in shown
    assert "新华社" in shown and "2026-11-20" in shown and "原来的题目" in shown


def test_own_text_has_no_source_line():
    assert "来源" not in page(line=published_line("中心", DIGEST, {"type": "own", "name": "中心"}))


def test_source_address_that_is_not_http_is_not_linked():
    source = {"type": "repost", "name": "某站", "url": "javascript:alert(1)"}

    assert "javascript" not in page(line=published_line("中心", DIGEST, source))


@pytest.mark.parametrize(
    "nasty",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:a)",
        "<a href='javascript:x'>x</a>",
        "![x](https://evil.cn/a.png)",
        '!["><script>](https://evil.cn/a.png)',
        "[x](//evil.cn/a)",
        "[x](/api/v1/session)",
        "<svg onload=alert(1)>",
        "</main></body><script>",
        "<style>body{}</style>",
        "```html\n<script>\n```",
        "{{ 7*7 }}{% raw %}",
    ],
)
def test_nasty_text_shows_as_text(nasty: str):
    source = {"type": "repost", "name": nasty, "url": nasty, "original_on": nasty}

    shown = page(
        body=nasty,
        title=nasty,
        line=published_line(nasty, DIGEST, source),
        attachments=[{"caption": nasty, "rights": nasty, "transcript": nasty, "name": nasty}],
    )

    for tag, attributes in Tags(shown).found:
        assert tag not in {"script", "img", "svg", "style", "iframe", "form", "object"}
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        target = attributes.get("href") or ""
        assert target.startswith(("http://", "https://", "mailto:", "../")) or not target
    assert "49" not in shown


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.text(min_size=1, max_size=30))
def test_any_text_renders_twice_alike(body: str, title: str):
    first = render("website", "2026-000001", title, body, [], LINE)

    assert render("website", "2026-000001", title, body, [], LINE) == first
    assert b"<script" not in first.content


def test_marks_that_turn_text_around_are_made_visible():
    assert "\u202e" not in page(title="标题\u202e题标", body="\u2066正文")


def test_lone_surrogate_does_not_stop_the_page():
    assert "\N{REPLACEMENT CHARACTER}" in page(title="坏\ud800字")


def test_headings_stand_below_the_title():
    shown = page(body="# 一\n\n###### 二")

    assert shown.count("<h1>") == 1
    assert "<h2>一</h2>" in shown and "<h6>二</h6>" in shown


def test_reviewed_image_is_shown_from_our_own_files():
    """R3.1-1."""
    file = published_file(IMAGE)

    assert file == "cd" * 32 + ".png"
    assert f'<img src="../files/{file}" alt="会议现场">' in page(attachments=[IMAGE])
    assert published_file(IMAGE | {"sha256": "sha256:" + "cd" * 32}) == file


@pytest.mark.parametrize(
    "change", [{"media_type": "image/svg+xml"}, {"sha256": "../../etc/passwd"}, {"sha256": ""}]
)
def test_file_of_another_kind_is_named_only(change: dict[str, str]):
    assert published_file(IMAGE | change) is None
    assert "<img" not in page(attachments=[IMAGE | change])


@pytest.mark.parametrize(
    "change",
    [
        {"number": "2026-000124"},
        {"title": "别的标题"},
        {"body_markdown": "别的。"},
        {"attachments": [IMAGE]},
        {"published_line": published_line("别的单位", DIGEST)},
        {"published_line": published_line("宣传中心", "sha256:" + "00" * 32)},
    ],
)
def test_every_input_moves_the_digest(change: dict):
    given = {
        "platform": "website",
        "number": "2026-000123",
        "title": "一则标题",
        "body_markdown": "正文。",
        "attachments": [],
        "published_line": LINE,
    }

    assert render(**given).digest != render(**given | change).digest


def test_other_platforms_get_plain_text():
    rendered = render(
        "wechat_mp",
        "2026-000123",
        "标题",
        "# 一\n\n- 甲 [乙](https://a.cn)\n- **丙**",
        [IMAGE],
        LINE,
    )

    assert rendered.media_type == "text/plain; charset=utf-8"
    assert rendered.content.decode() == (
        "标题\n\n发布单位：宣传中心\n\n一\n\n- 甲 乙（https://a.cn）\n\n- 丙\n\n附件：会议现场\n"
        f"编号：2026-000123\n版本指纹：{DIGEST}\n"
    )


@pytest.mark.parametrize(
    ("title", "body", "codes"),
    [
        ("题" * 32, "正文。", []),
        ("题" * 33, "正文。", ["publication.title_too_long"]),
        ("题" * 33, "文" * 20_000, ["publication.title_too_long", "publication.text_too_long"]),
        ("题", "文" * 20_000, ["publication.text_too_long"]),
    ],
)
def test_limits_of_wechat_are_told_with_the_place_where_the_text_ends(title, body, codes):
    content = render("wechat", "2026-000123", title, body, [], LINE).content
    found = limits("wechat", content)

    assert [one.code for one in found] == codes
    assert exceeds("wechat", content) == (codes[0] if codes else "")
    for one in found:
        assert one.length > one.most and one.refuses
        assert one.fits and one.fits in title + "发布单位：宣传中心" + body
    assert limits("website", content) == limits("push", content) == ()


def test_room_is_kept_for_the_addresses_that_pictures_get_over_there():
    pictures = [IMAGE | {"sha256": f"{n:064x}", "size": 5} for n in range(3)]

    def most(attachments: list[dict]) -> int:
        content = render("wechat", "2026-000123", "题", "文" * 20_000, attachments, LINE).content
        (found,) = limits("wechat", content)
        return found.most

    assert most([]) - most(pictures) == 3 * 200


def test_a_units_long_name_is_left_out_and_refuses_nothing():
    name = "某某" * 10
    content = render(
        "wechat", "2026-000123", "题", "文", [], published_line(name, DIGEST)
    ).content  # fmt: skip

    (found,) = limits("wechat", content, name)
    assert (found.code, found.refuses) == ("publication.author_left_out", False)
    assert exceeds("wechat", content) == ""
