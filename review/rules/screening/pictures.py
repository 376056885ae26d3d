"""What attachments need: a map's review number, the label of what a machine made."""

import re
from collections.abc import Iterator, Mapping

from review.rules.screening.findings import Finding, found, missing
from review.rules.screening.folding import Folded
from review.rules.screening.lists import Words
from review.rules.screening.matching import plain_word
from review.rules.screening.texts import Text

MEDIA = ("image", "audio", "video")
_NUMBER = re.compile(r"审图号|[GJ]S\s?[(\[]?\d{4}[)\]]?")
_MADE = re.compile(
    r"(?P<what>配图|图片|插图|海报|视频|音频|配音|画面|封面|动画|本文|全文|文稿)[^,。;\n]{0,10}?"
    r"(?:人工智能|ai|aigc)(?:技术|工具|大模型)?\s?(?:自动|辅助)?(?:生成|制作|合成|绘制|创作|撰写)",
    re.IGNORECASE,
)
_WRITING = ("本文", "全文", "文稿")


def maps(text: Text, words: Words) -> Iterator[Finding]:
    """Yield attachments that are maps and have no review number (审图号)."""
    for index, one in enumerate(text.attachments):
        caption = plain_word(str(one.get("caption") or ""))
        is_map = one.get("form") == "map" or any(plain_word(w) in caption for w in words.map_words)
        if is_map and not one.get("map_number") and not _NUMBER.search(caption.upper()):
            yield missing("MAP_NUMBER", "warn", f"attachments.{index}.map_number")


def ai_label(text: Text, plain: Mapping[str, Folded], words: Words) -> Iterator[Finding]:
    """Yield AI-made content without its label: in the captions, or for a text in the text."""
    told = next(
        ((name, one) for name, body in plain.items() if (one := _MADE.search(body.plain))), None
    )
    if not text.ai_generated and not told:
        return
    labels = [_tight(label) for label in words.ai_labels]
    media = [one for one in text.attachments if one.get("form") in MEDIA]
    shown = media or (told and told[1]["what"] not in _WRITING)
    places = (
        [str(one.get("caption") or "") for one in media]
        if shown
        else [text.fields.get("title", ""), text.fields.get("body", "")]
    )
    if any(label in _tight(place) for place in places for label in labels):
        return
    if told:
        name, one = told
        yield found("AI_LABEL", "block", name, plain[name], one.span())
    else:
        yield missing("AI_LABEL", "block", "ai_generated")


def _tight(text: str) -> str:
    return "".join(plain_word(text).split())
