"""What the public will see, to the byte: the same text gives the same page, today and next year.

Reviewers proof these bytes, the authorisation pins their digest, and the publisher sends nothing
else (R1.3-2, R1.3-6). So nothing here knows the time, the settings or the database.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import unescape
from html.parser import HTMLParser
from typing import Any

import nh3
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from review.rules.digests import algorithm_of, digest
from review.rules.publications import Claim, published_part
from review.rules.values import Value

WEBSITE = "website"
WECHAT = "wechat"
PUSH = "push"
# What WeChat takes of one article (developers.weixin.qq.com, 新增草稿).
WECHAT_TITLE = 32  # characters
WECHAT_AUTHOR = 16
WECHAT_PICTURES = frozenset({"image/png", "image/jpeg"})  # that an article may show (uploadimg)
WECHAT_PICTURE_BYTES = 1_000_000  # less than that
PICTURE_ADDRESS = 200  # characters to keep free for each picture's address over there
AUTHOR_LEFT_OUT = "publication.author_left_out"
WECHAT_CONTENT = 19_999
WECHAT_CONTENT_BYTES = 1_000_000

TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES: dict[str, set[str]] = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
# Rendered media that a page may show or link; whatever else is attached is named only.
EXTENSIONS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "application/pdf": ".pdf",
    "application/msword": ".doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/wav": ".wav",
    "audio/ogg": ".ogg",
    "video/webm": ".webm",
    "video/mp4": ".mp4",
}
# A reviewed picture in an article, by its bytes; a body can't write this, its HTML is text.
PICTURE = re.compile(r'<img src="\.\./files/([0-9a-f]{64}\.(?:png|jpg))"')
# What XML 1.0 can't carry (and a reader can't see), lone surrogates included; and the marks that
# turn the direction of text, with which a title could show as another one.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class Rendered(Value):
    """Bytes for one platform and their SHA-256 in hex."""

    media_type: str
    content: bytes
    digest: str


class Limit(Value):
    """A limit of a platform that a rendering exceeds.

    Args:
        length: How many characters there are; HTML marks count in a body.
        fits: What of the text a reader would see up to the limit, its end tells the place.
        refuses: Nothing is sent; otherwise the part alone is left out.
    """

    code: str
    length: int
    most: int
    fits: str
    refuses: bool = True


def render(
    platform: str,
    number: str,
    title: str,
    body_markdown: str,
    attachments: Sequence[dict[str, Any]],
    published_line: dict[str, Any],
) -> Rendered:
    """Render one version for one platform; pure, and the same for ever for the same input.

    Args:
        platform: `website` gives a whole HTML page, `wechat` a page around the article that is
            sent, `push` a piece of HTML; any other platform gets plain text.
        number: The item's number for people.
        title: Plain text.
        body_markdown: CommonMark with tables; raw HTML in it is shown as text, images become
            their description, because a page shows no picture that was not reviewed.
        attachments: As kept in the version: `{form, caption, rights, map_number, transcript}`,
            with `sha256`, `media_type` and `name` where a file belongs to it (R3.1-1).
        published_line: See `review.rules.publications.published_line`.

    Source: R1.3-2, R3.1-1, R3.2-4.
    """
    line = published_line
    shown = {
        "number": printable(number),
        "title": printable(title),
        "unit_name": printable(line["unit_name"]),
        "digest": line["digest"],
        "on": printable(line.get("on", "")),
        "source": _source(line.get("source") or {}),
        "attachments": [_attachment(one) for one in published_part(attachments)],
    }
    body = printable(body_markdown)
    if platform == WEBSITE:
        media_type = "text/html; charset=utf-8"
        page = _pages().get_template("page.html").render(body=Markup(_html(body)), **shown)  # nosec B704
    elif platform == WECHAT:
        media_type = "text/html; charset=utf-8"
        more = {
            "author": shown["unit_name"] if len(shown["unit_name"]) <= WECHAT_AUTHOR else "",
            "summary": wechat_mark(shown["number"], shown["digest"]),
            "body": Markup(_html(body, links=False)),  # nosec B704
        }
        page = _pages().get_template("wechat.html").render(**shown, **more)
    elif platform == PUSH:
        media_type = "text/html; charset=utf-8"
        page = _pages().get_template("push.html").render(body=Markup(_html(body)), **shown)  # nosec B704
    else:
        media_type = "text/plain; charset=utf-8"
        page = _texts().get_template("page.txt").render(body=_plain(body), **shown)
    content = page.encode()
    return Rendered(
        media_type=media_type, content=content, digest=digest(content, algorithm_of(line["digest"]))
    )


def body_html(body_markdown: str) -> str:
    """Return a body alone as the safe HTML that a page shows, for reading inside our own pages."""
    return _html(printable(body_markdown))


def render_claim(claim: Claim) -> Rendered:
    """Render what a claim is about."""
    return render(
        claim.platform, claim.number, claim.title, claim.body, claim.attachments, claim.line
    )


def wechat_mark(number: str, digest: str) -> str:
    """Return an article's 摘要: it tells readers the number, and us which article is ours."""
    return f"编号：{number}　版本指纹：{digest.rpartition(':')[2][:32]}"


def wechat_article(content: bytes) -> dict[str, str]:
    """Return the fields of the article out of the approved bytes, and out of nothing else.

    Returns:
        title, author, digest and content, as `draft/add` names them.
    """
    page = content.decode()
    before, _, rest = page.partition("\n<main>\n")
    return {
        "title": unescape(_between(before, "<h1>", "</h1>")),
        "author": unescape(_between(before, '<p id="author">', "</p>")),
        "digest": unescape(_between(before, '<p id="digest">', "</p>")),
        "content": rest.rpartition("\n</main>")[0],
    }


def pictures_in(article: str) -> tuple[str, ...]:
    """Return the files that an article shows, each once, as `SHA256.EXTENSION`."""
    return tuple(dict.fromkeys(PICTURE.findall(article)))


def with_pictures(article: str, addresses: Mapping[str, str]) -> str:
    """Return the approved article, each picture at the platform's own address for those bytes."""
    return PICTURE.sub(lambda found: f'<img src="{escape(addresses[found[1]])}"', article)


def exceeds(platform: str, content: bytes) -> str:
    """Return which limit of the platform a rendering exceeds, as a code; empty: none."""
    return next((one.code for one in limits(platform, content) if one.refuses), "")


def limits(platform: str, content: bytes, unit_name: str = "") -> tuple[Limit, ...]:
    """Return which limits of the platform a rendering exceeds, those that refuse it first.

    Args:
        unit_name: Where it is given, it is told too when the platform's author line can't hold it.
    """
    if platform != WECHAT:
        return ()
    article = wechat_article(content)
    title, text = article["title"], article["content"]
    room = WECHAT_CONTENT - PICTURE_ADDRESS * len(PICTURE.findall(text))
    found = []
    if len(title) > WECHAT_TITLE:
        found.append(
            Limit(
                code="publication.title_too_long", length=len(title), most=WECHAT_TITLE,
                fits=title[:WECHAT_TITLE],
            )
        )  # fmt: skip
    if len(text) > room or len(text.encode()) > WECHAT_CONTENT_BYTES:
        found.append(
            Limit(
                code="publication.text_too_long", length=len(text), most=room,
                fits=visible_text(text[:max(room, 0)].rpartition("<")[0]),
            )
        )  # fmt: skip
    if len(printable(unit_name)) > WECHAT_AUTHOR:
        found.append(
            Limit(
                code=AUTHOR_LEFT_OUT, length=len(unit_name), most=WECHAT_AUTHOR, fits="",
                refuses=False,
            )
        )  # fmt: skip
    return tuple(found)


def visible_text(html: str) -> str:
    """Return what a reader sees of HTML, without a difference in blanks; for comparing."""
    seen = _Seen()
    seen.feed(html)
    seen.close()
    return "".join("".join(seen.words).split())


class _Seen(HTMLParser):
    """Collects text that is shown."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "title") and not self._hidden:
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def _between(text: str, begins: str, ends: str) -> str:
    return text.partition(begins)[2].partition(ends)[0]


def printable(text: str) -> str:
    """Return the text without what XML can't carry or a reader can't see."""
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def published_file(attachment: dict[str, Any]) -> str | None:
    """Return the name under which an attachment's file is published, None if it is not."""
    digest = str(attachment.get("sha256", "")).removeprefix("sha256:")
    extension = EXTENSIONS.get(str(attachment.get("media_type", "")))
    if extension is None or not re.fullmatch("[0-9a-f]{64}", digest):
        return None
    return digest + extension


def _source(source: dict[str, Any]) -> dict[str, str] | None:
    """Return what is said of a text that is not our own (R3.2-4)."""
    if not source.get("name") or source.get("type") == "own":
        return None
    url = str(source.get("url", ""))
    return {
        "name": printable(source["name"]),
        "url": printable(url) if re.match("https?://", url, re.IGNORECASE) else "",
        "on": printable(source.get("original_on", "")),
        "title": printable(source.get("original_title", "")),
    }


def _attachment(attachment: dict[str, Any]) -> dict[str, Any]:
    keys = ("form", "caption", "rights", "map_number", "transcript", "name")
    shown: dict[str, Any] = {key: printable(str(attachment.get(key) or "")) for key in keys}
    file = published_file(attachment)
    is_image = file is not None and str(attachment["media_type"]).startswith("image/")
    label = shown["caption"] or shown["name"] or str(attachment.get("id", ""))
    is_picture = (
        is_image
        and attachment["media_type"] in WECHAT_PICTURES
        and 0 < int(attachment.get("size") or 0) < WECHAT_PICTURE_BYTES
    )
    return {**shown, "file": file, "is_image": is_image, "is_picture": is_picture, "label": label}


def _html(body: str, *, links: bool = True) -> str:
    tokens = _markdown().parse(body)
    for token in tokens:
        if not links and token.children:  # a platform that drops links gets their target as text
            token.children = list(_unlinked(token.children))
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"  # the page's own title is the h1
    html = str(_markdown().renderer.render(tokens, _markdown().options, {}))
    return nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )


def _unlinked(tokens: Sequence[Token]) -> Iterator[Token]:
    targets: list[str] = []
    for token in tokens:
        if token.type == "link_open":
            targets.append(str(token.attrGet("href") or ""))
        elif token.type == "link_close":
            yield Token("text", "", 0, content=f"（{targets.pop()}）")
        else:
            yield token


def _plain(body: str) -> str:
    """Return the text of Markdown; a link's target follows its words in brackets."""
    return "\n\n".join(block for block in _blocks(_markdown().parse(body)) if block)


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    mark = ""
    for token in tokens:
        if token.type == "list_item_open":
            mark = f"{token.info}{token.markup} " if token.info else "- "
        elif token.type == "inline":
            yield mark + "".join(_words(token.children or []))
            mark = ""
        elif token.type in ("fence", "code_block"):
            yield token.content.rstrip("\n")


def _words(tokens: Sequence[Token]) -> Iterator[str]:
    targets: list[str] = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif token.type == "link_open":
            targets.append(str(token.attrGet("href") or ""))
        elif token.type == "link_close":
            yield f"（{targets.pop()}）"
        else:
            yield token.content


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

    def description(_self: Any, tokens: Sequence[Token], at: int, *_: Any) -> str:
        return str(Markup.escape(tokens[at].content))

    markdown.add_render_rule("image", description)
    return markdown


@cache
def _pages() -> Environment:
    return _environment(autoescape=True)


@cache
def _texts() -> Environment:
    return _environment(autoescape=False)


def _environment(*, autoescape: bool) -> Environment:
    return Environment(  # off for plain text alone  # nosec B701
        loader=PackageLoader("review", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
