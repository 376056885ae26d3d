"""Sound and film: kept as they sound and look, without tags, covers, places and attached files.

Tags are blanked in place where players find their data by offset (MP4, WebM), else left out.
"""

from collections.abc import Callable, Iterator
from io import BytesIO

from mutagen import MutagenError, apev2, id3
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from review.uploads.kinds import Cleaned, refuse

PARENT_BOXES = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
TAG_BOXES = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip"})
MOST_BOXES = 100_000
SOUND_CHUNKS = frozenset({b"fmt ", b"data", b"fact"})
SEGMENT = 0x18538067
TAG_ELEMENTS = frozenset({0x1254C367, 0x1941A469, 0xEC})  # Tags, Attachments, Void
INFO = 0x1549A966
TITLE = 0x7BA9
VOID = b"\xec"
UNKNOWN_SIZE = -1


def cleaned_media(kind: str, name: str, content: bytes) -> Cleaned:
    """Return sound or film without what is not heard or seen.

    Raises:
        MalformedError: Damaged.
    """
    clean: dict[str, Callable[[bytes], bytes]] = {
        "mp4": _boxes_blanked,
        "m4a": _boxes_blanked,
        "webm": _elements_blanked,
        "wav": _sound_alone,
        "mp3": _mp3_without_tags,
        "ogg": _ogg_without_tags,
    }
    return Cleaned(kind=kind, name=name, content=clean[kind](content))


# --- MP4 and M4A (ISO 14496-12) -------------------------------------------------------------------


def _boxes_blanked(content: bytes) -> bytes:
    kept = bytearray(content)
    seen = [0]
    kinds = _blank_boxes(kept, 0, len(kept), seen)
    if b"moov" not in kinds or not kinds & {b"mdat", b"moof"}:
        refuse("media_broken")
    return bytes(kept)


def _blank_boxes(kept: bytearray, start: int, end: int, seen: list[int]) -> set[bytes]:
    """Turn boxes of tags into empty room of the same size; return the kinds on this level."""
    kinds: set[bytes] = set()
    at = start
    while at < end:
        size, kind, head = int.from_bytes(kept[at : at + 4], "big"), bytes(kept[at + 4 : at + 8]), 8
        if size == 1:
            size, head = int.from_bytes(kept[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = end - at
        seen[0] += 1
        if size < head or at + size > end or seen[0] > MOST_BOXES:
            refuse("media_broken")
        kinds.add(kind)
        if kind in TAG_BOXES:
            kept[at + 4 : at + 8] = b"free"
            kept[at + head : at + size] = bytes(size - head)
        elif kind in PARENT_BOXES:
            _blank_boxes(kept, at + head, at + size, seen)
        at += size
    return kinds


# --- WebM (EBML, RFC 8794) ------------------------------------------------------------------------


def _elements_blanked(content: bytes) -> bytes:
    kept = bytearray(content)
    found = False
    for identity, _, body, end in _elements(kept, 0, len(kept)):
        if identity == SEGMENT:
            found = True
            for inner, start, inner_body, inner_end in _elements(kept, body, end):
                if inner in TAG_ELEMENTS:
                    _blank_element(kept, start, inner_end)
                elif inner == INFO:
                    for one, begins, _, ends in _elements(kept, inner_body, inner_end):
                        if one == TITLE:
                            _blank_element(kept, begins, ends)
    if not found:
        refuse("media_broken")
    return bytes(kept)


def _elements(kept: bytearray, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield id, start, start of its content and end of each element on one level."""
    at = start
    while at < end:
        identity, after = _number(kept, at, keep_mark=True)
        size, body = _number(kept, after, keep_mark=False)
        ends = end if size == UNKNOWN_SIZE else body + size
        if ends > end:
            refuse("media_broken")
        yield identity, at, body, ends
        if size == UNKNOWN_SIZE and identity != SEGMENT:
            return  # a live recording's cluster: all that follows is picture and sound
        at = ends


def _number(kept: bytearray, at: int, *, keep_mark: bool) -> tuple[int, int]:
    """Return a number, whose first bits tell its length in bytes, and where it ends."""
    if at >= len(kept) or not kept[at]:
        refuse("media_broken")
    length = 9 - kept[at].bit_length()
    if at + length > len(kept) or (keep_mark and length > 4):
        refuse("media_broken")
    value = int.from_bytes(kept[at : at + length], "big")
    if not keep_mark:
        value &= (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1:
            value = UNKNOWN_SIZE
    return value, at + length


def _blank_element(kept: bytearray, start: int, end: int) -> None:
    """Turn an element into an empty one of the same length."""
    room = end - start
    width = 1 if room - 2 < 127 else 8
    size = room - 1 - width
    told = size | (0x80 if width == 1 else 0x01 << 56)
    kept[start:end] = VOID + told.to_bytes(width, "big") + bytes(size)


# --- WAV, MP3, Ogg --------------------------------------------------------------------------------


def _sound_alone(content: bytes) -> bytes:
    """Return a WAV of its format and its sound."""
    chunks, at, kinds = bytearray(), 12, set()
    while at + 8 <= len(content):
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = content[at + 8 : at + 8 + size]
        if len(body) < size:
            refuse("media_broken")
        if kind in SOUND_CHUNKS and kind not in kinds:
            chunks += kind + size.to_bytes(4, "little") + body + bytes(size % 2)
            kinds.add(kind)
        at += 8 + size + size % 2
    if not {b"fmt ", b"data"} <= kinds:
        refuse("media_broken")
    return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WAVE" + bytes(chunks)


def _mp3_without_tags(content: bytes) -> bytes:
    file = BytesIO(content)
    try:
        for delete in (id3.delete, apev2.delete):
            delete(file)
            file.seek(0)
    except (MutagenError, ValueError, EOFError):
        refuse("media_broken")
    kept = file.getvalue()
    if kept[-128:-125] == b"TAG":
        kept = kept[:-128]
    start = kept.find(b"\xff")
    if start < 0 or kept.startswith(b"ID3"):
        refuse("media_broken")
    return kept


def _ogg_without_tags(content: bytes) -> bytes:
    for kind in (OggVorbis, OggOpus, OggFLAC):
        file = BytesIO(content)
        try:
            kind(file).delete(file)
        except (MutagenError, ValueError, EOFError):
            continue
        return file.getvalue()
    refuse("media_broken")
