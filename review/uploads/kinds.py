"""What is taken: each kind's bytes, its endings and its media type. Bytes decide, not names."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from review.rules.errors import MalformedError, UnsupportedMediaError

LARGEST = 50 * 1024 * 1024  # bytes of one upload (contract)
MOST_TEXT = 400_000  # characters of one document; a book's length
NAME_LENGTH = 120  # characters

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MEDIA_TYPES: Mapping[str, str] = {  # by kind
    "docx": DOCX,
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
}
KIND_OF_ENDING: Mapping[str, str] = {
    **{kind: kind for kind in MEDIA_TYPES},
    "jpg": "jpeg",
    "m4v": "mp4",
    "markdown": "md",
    "oga": "ogg",
    "opus": "ogg",
}
TEXT_KINDS = frozenset({"txt", "md"})
ZIP = b"PK\x03\x04"
M4A_BRANDS = frozenset({b"M4A ", b"M4B "})
# HEIC and AVIF are boxes like MP4, but pictures.
PICTURE_BRANDS = frozenset(
    {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
)
LAYERS_OF_MP3 = frozenset({0b01})  # layer III


@dataclass(frozen=True)
class Cleaned:
    """An upload as it may be kept, with every text in it, to be screened first.

    Args:
        texts: What people can read in it or in what was taken out, by place.
        words: A document's text as its reader sees it, for whoever goes on writing it.
        notes: Codes of what a reviewer must know, such as `no_text`.
    """

    kind: str
    name: str
    content: bytes = field(repr=False)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    words: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
    width: int = 0
    height: int = 0

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.kind]


def refuse(code: str) -> NoReturn:
    """Refuse a file for what it holds; the words stand under `malformed.CODE`."""
    raise MalformedError(errors=[{"field": "file", "message": code}])


def refuse_kind(why: str) -> NoReturn:
    """Refuse a kind of file (415)."""
    raise UnsupportedMediaError(why=why, expected=" ".join(sorted(KIND_OF_ENDING)))


def name_of(given: str) -> str:
    """Return a file's own name without folders and without what can't be seen.

    Raises:
        MalformedError: Nothing is left of it.
    """
    last = given.replace("\\", "/").rpartition("/")[2]
    kept = "".join(
        one
        for one in unicodedata.normalize("NFC", last)
        # Cc and Cf: control, zero width and marks that turn the direction of writing.
        if unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    )
    stem, dot, ending = " ".join(kept.split()).rpartition(".")
    if not stem.strip(". ") or not dot or not ending:
        refuse("name_without_ending")
    return f"{stem[: NAME_LENGTH - len(ending) - 1]}.{ending}"


def kind_of(name: str, content: bytes) -> str:
    """Return what a file really is.

    Raises:
        UnsupportedMediaError: A kind that is not taken, or other bytes than the name promises.
        MalformedError: It is empty.
    """
    promised = KIND_OF_ENDING.get(name.rpartition(".")[2].lower())
    if promised is None:
        refuse_kind("kind_not_taken")
    if not content:
        refuse("file_empty")
    found = _kind_of_bytes(content)
    if found is None and promised in TEXT_KINDS:
        return promised
    if found != promised:
        refuse_kind("kind_differs")
    return promised


def _kind_of_bytes(content: bytes) -> str | None:
    """Return the kind that the first bytes show; None where they show none (texts do not)."""
    head = content[:64]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "webp", b"WAVE": "wav"}.get(head[8:12], "riff")
    if head.startswith(b"%PDF-"):
        return "pdf"
    if head.startswith(ZIP):
        return "docx"  # whether it really is one shows when it is opened
    if head[4:8] == b"ftyp":
        return _kind_of_boxes(content)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head else "matroska"
    if head.startswith(b"OggS"):
        return "ogg"
    if head.startswith(b"ID3") or (
        len(head) > 1
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and (head[1] >> 1) & 0b11 in LAYERS_OF_MP3
    ):
        return "mp3"
    return None


def _kind_of_boxes(content: bytes) -> str:
    size = int.from_bytes(content[:4], "big")
    brands = {content[8:12], *(content[at : at + 4] for at in range(16, min(size, 256), 4))}
    if content[8:12] in PICTURE_BRANDS:
        return "picture"
    return "m4a" if brands & M4A_BRANDS and content[8:12] in M4A_BRANDS else "mp4"
