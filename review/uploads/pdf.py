"""PDF: scripts, actions and embedded files taken out, all text read, written anew the same way.

Forms are flattened: what was filled in stands on the page and is screened there. Texts are read
from the result, since that is what people will read.
"""

import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from threading import Lock
from typing import Any

import pikepdf
import pypdfium2

from review.uploads.kinds import MOST_TEXT, Cleaned, refuse

STREAM = re.compile(rb"(?<!end)stream\r?\n")
TWICE_PACKED = re.compile(rb"/Fl(?:ateDecode)?\s*/Fl(?:ateDecode)?\b")
CHUNK = 64 * 1024  # bytes read at a time
LARGEST_CHUNK = 1024 * 1024  # bytes they may become at a time
LARGEST_STREAM = 160 * 1024 * 1024  # bytes unpacked: the largest picture that is taken
LARGEST_UNPACKED = 600 * 1024 * 1024  # bytes, all streams together; none is kept meanwhile
MOST_PAGES = 1_000
MOST_OBJECTS = 200_000
MOST_NESTED = 50
# Keys that start something or carry other files, wherever they stand.
ACTIVE_KEYS = (
    "/AA", "/OpenAction", "/JS", "/JavaScript", "/EmbeddedFiles", "/EmbeddedFile", "/EF", "/AF",
    "/XFA", "/Collection", "/RichMediaContent", "/RichMediaSettings", "/Launch", "/Metadata",
    "/PieceInfo", "/Renditions",
)  # fmt: skip
ACTIVE_ACTIONS = frozenset(
    {
        "/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/ResetForm", "/GoToR", "/GoToE",
        "/Rendition", "/Movie", "/Sound", "/RichMediaExecute", "/GoTo3DView", "/Hide", "/Thread",
        "/SetOCGState", "/Trans", "/Named",
    }
)  # fmt: skip
ACTIVE_NOTES = frozenset(
    {
        "/FileAttachment",
        "/RichMedia",
        "/Screen",
        "/Movie",
        "/Sound",
        "/3D",
        "/Widget",
        "/Projection",
    }
)
ADDRESSES = ("http://", "https://", "mailto:")
_one_reader = Lock()  # PDFium may be used by one thread at a time


def cleaned_pdf(name: str, content: bytes) -> Cleaned:
    """Return a PDF that only shows, with all its text.

    Raises:
        MalformedError: Damaged, locked, or with too many pages.
    """
    _require_bounded(content)
    try:
        with pikepdf.open(BytesIO(content)) as pdf:
            if pdf.is_encrypted:
                refuse("pdf_locked")
            if len(pdf.pages) > MOST_PAGES or len(pdf.objects) > MOST_OBJECTS:
                refuse("document_too_long")
            if not len(pdf.pages):
                refuse("document_broken")
            said = "\n".join(_strings(pdf))
            _clean(pdf)
            kept = BytesIO()
            pdf.save(kept, deterministic_id=True, compress_streams=True, linearize=False)
    except pikepdf.PasswordError:
        refuse("pdf_locked")
    except (pikepdf.PdfError, pikepdf.DataDecodingError, RuntimeError, ValueError, TypeError):
        refuse("document_broken")
    cleaned = kept.getvalue()
    pages = _pages(cleaned)
    texts = {f"page.{number}": text for number, text in enumerate(pages, 1) if text.strip()}
    words = "\n".join(texts.values())
    notes: tuple[str, ...] = ()
    if len(texts) < len(pages):
        notes = ("pages_without_text",) if texts else ("no_text",)
    if said:
        texts["strings"] = said
    return Cleaned(kind="pdf", name=name, content=cleaned, texts=texts, words=words, notes=notes)


def _require_bounded(content: bytes) -> None:
    """Refuse what swells when it is unpacked, before any reader unpacks it whole."""
    if TWICE_PACKED.search(content):
        refuse("document_broken")
    total = 0
    for number, found in enumerate(STREAM.finditer(content)):
        if number > MOST_OBJECTS:
            refuse("document_too_long")
        unpacker, size, at = zlib.decompressobj(), 0, found.end()
        held = content[at : at + CHUNK]
        try:
            while held and not unpacker.eof:
                size += len(unpacker.decompress(held, LARGEST_CHUNK))
                if size > LARGEST_STREAM or total + size > LARGEST_UNPACKED:
                    refuse("archive_too_large")
                held = unpacker.unconsumed_tail
                if not held:
                    at += CHUNK
                    held = content[at : at + CHUNK]
        except zlib.error:  # packed in another way, or not at all
            pass
        total += size


def _clean(pdf: pikepdf.Pdf) -> None:
    """Take out what runs, plays, fetches or hides; what nothing points at is not written."""
    if "/AcroForm" in pdf.Root:
        if "/XFA" in pdf.Root.AcroForm:
            del pdf.Root.AcroForm["/XFA"]
        pdf.generate_appearance_streams()
        pdf.flatten_annotations(mode="screen")
        if "/AcroForm" in pdf.Root:
            del pdf.Root["/AcroForm"]
    if "/Info" in pdf.trailer:
        del pdf.trailer["/Info"]
    for page in pdf.pages:
        notes = page.obj.get("/Annots")
        if notes is not None:
            kept = [note for note in notes if str(note.get("/Subtype")) not in ACTIVE_NOTES]
            page.obj["/Annots"] = pikepdf.Array(kept)
    for held in pdf.objects:
        _disarm(held, 0)
        _strip_photo(held)


def _disarm(held: Any, depth: int) -> None:
    """Take out of one object what runs or carries files."""
    if depth > MOST_NESTED:
        refuse("document_broken")
    if isinstance(held, pikepdf.Array):
        for inner in held:
            if isinstance(inner, (pikepdf.Array, pikepdf.Dictionary)) and not inner.is_indirect:
                _disarm(inner, depth + 1)
        return
    if not isinstance(held, (pikepdf.Dictionary, pikepdf.Stream)):
        return
    for key in ACTIVE_KEYS:
        if key in held:
            del held[key]
    action = str(held.get("/S", ""))
    address = str(held.get("/URI", "")) if action == "/URI" else ""
    if action in ACTIVE_ACTIONS or (
        action == "/URI" and not address.lower().lstrip().startswith(ADDRESSES)
    ):
        for key in list(held.keys()):
            if not isinstance(held, pikepdf.Stream) or key not in ("/Length", "/Filter"):
                del held[key]
        return
    for key in list(held.keys()):
        part: Any = held.get(key)
        if isinstance(part, (pikepdf.Array, pikepdf.Dictionary)) and not part.is_indirect:
            _disarm(part, depth + 1)


def _strip_photo(held: Any) -> None:
    """Take place and camera out of a photo that stands in the file as a JPEG."""
    if not isinstance(held, pikepdf.Stream) or held.get("/Filter") != pikepdf.Name.DCTDecode:
        return
    photo = held.read_raw_bytes()
    plain = without_segments(photo)
    if plain != photo:
        parameters: Any = held.get("/DecodeParms")
        held.write(plain, filter=pikepdf.Name.DCTDecode, decode_parms=parameters)


def without_segments(photo: bytes) -> bytes:
    """Return a JPEG without its comments and application segments, but for the colour one."""
    if not photo.startswith(b"\xff\xd8"):
        return photo
    kept, at = bytearray(photo[:2]), 2
    while at + 4 <= len(photo) and photo[at] == 0xFF:
        marker = photo[at + 1]
        if marker == 0xDA:  # the picture itself begins
            break
        length = 2 + int.from_bytes(photo[at + 2 : at + 4], "big")
        told = photo[at : at + length]
        hidden = 0xE1 <= marker <= 0xEF or marker == 0xFE
        if not hidden or told[4:9] == b"Adobe":
            kept += told
        at += length
    return bytes(kept + photo[at:])


def _strings(pdf: pikepdf.Pdf) -> Iterator[str]:
    """Yield every text that stands outside the pages: titles, remarks, bookmarks, form fields."""
    length = 0
    holders = [*pdf.objects, pdf.trailer]
    for held in holders:
        for text in _strings_of(held, 0):
            length += len(text)
            if length > MOST_TEXT:
                refuse("document_too_long")
            yield text
    if "/Metadata" in pdf.Root and isinstance(pdf.Root.Metadata, pikepdf.Stream):
        yield pdf.Root.Metadata.read_bytes()[:MOST_TEXT].decode("utf-8", "replace")


def _strings_of(held: Any, depth: int) -> Iterator[str]:
    if depth > MOST_NESTED:
        refuse("document_broken")
    inner: list[Any] = []
    if isinstance(held, pikepdf.String):
        text = str(held)
        if len(text) > 3 and text.isprintable():
            yield text
        elif len(text) > 3:
            lines = [line for line in text.splitlines() if line.isprintable()]
            yield from (line for line in lines if len(line) > 3)
        return
    if isinstance(held, pikepdf.Array):
        inner = list(held)
    elif isinstance(held, (pikepdf.Dictionary, pikepdf.Stream)):
        inner = [held.get(key) for key in held.keys()]  # noqa: SIM118
    for one in inner:
        if not getattr(one, "is_indirect", False):
            yield from _strings_of(one, depth + 1)


def _pages(content: bytes) -> list[str]:
    """Return each page's text as people read it."""
    found, length = [], 0
    with _one_reader:
        try:
            pdf = pypdfium2.PdfDocument(content)
        except pypdfium2.PdfiumError:
            refuse("document_broken")
        try:
            for page in pdf:
                words = page.get_textpage()
                text = str(words.get_text_range()).replace("\r\n", "\n")
                words.close()
                page.close()
                length += len(text)
                if length > MOST_TEXT:
                    refuse("document_too_long")
                found.append(text)
        finally:
            pdf.close()
    return found
