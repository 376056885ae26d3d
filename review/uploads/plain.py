"""Plain text and Markdown: decoded, kept as UTF-8."""

import re

from review.uploads.kinds import Cleaned, refuse_kind

# What no text holds; tab, line ends and form feed it may.
CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")


def cleaned_text(kind: str, name: str, content: bytes) -> Cleaned:
    """Return a text in UTF-8; GB 18030, which older office software writes, is turned into it.

    Raises:
        UnsupportedMediaError: It is no text.
    """
    text = _decoded(content)
    if CONTROL.search(text):
        refuse_kind("kind_differs")
    return Cleaned(kind=kind, name=name, content=text.encode(), texts={"text": text}, words=text)


def _decoded(content: bytes) -> str:
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    refuse_kind("kind_differs")
