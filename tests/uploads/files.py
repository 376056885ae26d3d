"""Files to upload, made by hand so that a test can put into them what it wants to see taken out."""

import struct
import wave
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pikepdf
from mutagen.ogg import OggPage
from PIL import Image

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-'
    'officedocument.wordprocessingml.document.main+xml"/>{more}</Types>'
)
IDENTITY = "130105199003071232"  # made up; its check digit is right
MARK = "机密★10年"


def rels(*links: str) -> str:
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        + "".join(links)
        + "</Relationships>"
    )


def link(kind: str, target: str, *, external: bool = False) -> str:
    mode = ' TargetMode="External"' if external else ""
    return f'<Relationship Id="r1" Type="{RELATIONS}/{kind}" Target="{target}"{mode}/>'


def paragraph(*runs: str) -> str:
    return "<w:p>" + "".join(f"<w:r><w:t>{run}</w:t></w:r>" for run in runs) + "</w:p>"


def a_docx(
    body: str = "", parts: Mapping[str, str | bytes] | None = None, types: str = ""
) -> bytes:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES.format(more=types))
        archive.writestr("_rels/.rels", rels(link("officeDocument", "word/document.xml")))
        document = f"<w:document {W}><w:body>{body or paragraph('正文。')}</w:body></w:document>"
        archive.writestr("word/document.xml", document)
        for part, held in (parts or {}).items():
            archive.writestr(part, held)
    return packed.getvalue()


def a_pdf(*pages: str, **root: Any) -> bytes:
    """Return a PDF with one line of Latin text a page; `root` goes into its catalogue."""
    pdf = pikepdf.new()
    font = pdf.make_indirect(
        pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
    )
    for text in pages or ("plain text",):
        pdf.add_blank_page(page_size=(300, 200))
        page = pdf.pages[-1]
        page.obj["/Resources"] = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        told = f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET" if text else ""
        page.obj["/Contents"] = pdf.make_stream(told.encode())
    for name, held in root.items():
        pdf.Root[f"/{name}"] = pdf.make_indirect(held)
    told_pdf = BytesIO()
    pdf.save(told_pdf)
    return told_pdf.getvalue()


def a_picture(form: str = "JPEG", size: tuple[int, int] = (40, 20), **options: Any) -> bytes:
    drawn = BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(drawn, form, **options)
    return drawn.getvalue()


def a_photo() -> bytes:
    """Return a JPEG that lies on its side and knows where it was taken, and by whom."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to stand upright
    exif[0x013B] = "CANARY-OWNER"
    exif.get_ifd(0x8825).update({1: "N", 2: (38.0, 2.0, 30.0)})
    return a_picture("JPEG", exif=exif, comment=b"CANARY-COMMENT")


def a_wav(more: bytes = b"") -> bytes:
    told = BytesIO()
    with wave.open(told, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\x01\x02" * 400)
    whole = told.getvalue() + more
    return whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:]


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def an_mp4(tags: bytes = b"CANARY+38.04+114.5/", brand: bytes = b"isom") -> bytes:
    movie = box(b"moov", box(b"mvhd", bytes(100)) + box(b"udta", box(b"\xa9xyz", tags)))
    return box(b"ftyp", brand + bytes(4) + b"mp42") + movie + box(b"mdat", b"picture and sound")


def element(identity: bytes, content: bytes) -> bytes:
    return identity + (len(content) | 1 << 56).to_bytes(8, "big") + content


def a_webm() -> bytes:
    head = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", b"webm"))
    info = element(b"\x15\x49\xa9\x66", element(b"\x7b\xa9", b"CANARY-TITLE") + b"\xec\x80")
    tags = element(b"\x12\x54\xc3\x67", b"CANARY-TAGS" * 30)
    cluster = element(b"\x1f\x43\xb6\x75", b"picture and sound")
    return head + element(b"\x18\x53\x80\x67", info + tags + cluster)


def an_mp3() -> bytes:
    tags = b"TIT2" + (13).to_bytes(4, "big") + b"\0\0" + b"\x03CANARY-TITLE"
    head = b"ID3\x04\0\0" + bytes([0, 0, 0, len(tags)]) + tags
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    return head + frame * 4 + b"TAG" + b"CANARY-OLD".ljust(125, b"\0")


def an_ogg() -> bytes:
    told = BytesIO()
    words = b"TITLE=CANARY-TITLE"
    packets = (
        b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0",
        b"OpusTags" + struct.pack("<I", 4) + b"made" + struct.pack("<II", 1, len(words)) + words,
        b"sound",
    )
    for place, packet in enumerate(packets):
        page = OggPage()
        page.serial, page.sequence, page.packets = 7, place, [packet]
        page.position = 960 if place == 2 else 0
        page.first, page.last = place == 0, place == 2
        told.write(page.write())
    return told.getvalue()


SAMPLES: Mapping[str, bytes] = {
    "通知.docx": a_docx(),
    "通知.pdf": a_pdf(),
    "通知.txt": "正文。".encode(),
    "通知.md": "# 标题\n正文。".encode(),
    "图.png": a_picture("PNG"),
    "图.jpg": a_picture("JPEG"),
    "图.webp": a_picture("WEBP"),
    "片.mp4": an_mp4(),
    "片.webm": a_webm(),
    "声.mp3": an_mp3(),
    "声.m4a": an_mp4(brand=b"M4A "),
    "声.wav": a_wav(),
    "声.ogg": an_ogg(),
}
