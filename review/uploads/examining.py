"""One upload from its bytes to what may be kept."""

from review.rules.errors import TooLargeError
from review.uploads.documents import cleaned_docx
from review.uploads.images import cleaned_image
from review.uploads.kinds import LARGEST, MOST_TEXT, Cleaned, kind_of, name_of, refuse
from review.uploads.media import cleaned_media
from review.uploads.plain import cleaned_text

IMAGES = frozenset({"png", "jpeg", "webp"})
TEXTS = frozenset({"txt", "md"})


def examined(name: str, content: bytes) -> Cleaned:
    """Return a file as it may be kept.

    Args:
        name: As the uploader calls it.
        content: All of it, in memory.

    Raises:
        TooLargeError: More than `LARGEST`.
        UnsupportedMediaError: A kind that is not taken, or not what its name says.
        MalformedError: It is damaged, locked, or holds what can't be cleaned; the code says what.

    Source: R1.3-4, RA1-6.
    """
    if len(content) > LARGEST:
        raise TooLargeError(limit=LARGEST)
    name = name_of(name)
    kind = kind_of(name, content)
    if kind in TEXTS:
        cleaned = cleaned_text(kind, name, content)
    elif kind in IMAGES:
        cleaned = cleaned_image(kind, name, content)
    elif kind == "docx":
        cleaned = cleaned_docx(name, content)
    elif kind == "pdf":
        from review.uploads.pdf import cleaned_pdf  # it loads much that few processes need

        cleaned = cleaned_pdf(name, content)
    else:
        cleaned = cleaned_media(kind, name, content)
    if sum(map(len, cleaned.texts.values())) > MOST_TEXT:
        refuse("document_too_long")
    if len(cleaned.content) > LARGEST:
        raise TooLargeError(limit=LARGEST)
    return cleaned
