"""Every kind by its bytes: taken clean, or refused with what to do."""

import zlib
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

import pikepdf
import pytest
from PIL import Image

from review.rules.errors import MalformedError, RuleError, TooLargeError, UnsupportedMediaError
from review.rules.screening import screen
from review.texts import text
from review.uploads import Cleaned, examined, images, kinds, pdf
from review.uploads.pdf import without_segments
from tests.uploads.files import (
    IDENTITY,
    MARK,
    SAMPLES,
    a_docx,
    a_pdf,
    a_photo,
    a_picture,
    a_wav,
    an_mp4,
    link,
    paragraph,
    rels,
)


def refusal(name: str, content: bytes) -> str:
    with pytest.raises(RuleError) as caught:
        examined(name, content)
    error = caught.value
    if isinstance(error, UnsupportedMediaError):
        code = f"error.unsupported_media.{error.params['why']}"
    else:
        code = f"malformed.{error.params['errors'][0]['message']}"
    for language in ("zh", "en"):
        assert text(code, language) != code, "a person is told what to do"
    return code.rpartition(".")[2]


def stops(cleaned: Cleaned) -> set[str]:
    return {one.rule for one in screen({"name": cleaned.name, **cleaned.texts})}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_is_taken_and_cleaning_is_settled(name: str):
    once = examined(name, SAMPLES[name])
    again = examined(name, once.content)

    assert once.name == name
    assert b"CANARY" not in once.content
    assert again.content == once.content or name.endswith((".jpg", ".webp")), "drawn, not copied"
    assert once.content == examined(name, SAMPLES[name]).content, "the same bytes every time"


def others(name: str) -> set[str]:
    """Return the kinds that a sample isn't; plain text and Markdown can't be told apart."""
    true = kinds.KIND_OF_ENDING[name.rpartition(".")[2]]
    alike = {"txt", "md"} if true in ("txt", "md") else {true}
    return {"png", "pdf", "docx", "mp4", "txt"} - alike


@pytest.mark.parametrize(
    ("name", "other"), [(name, other) for name in SAMPLES for other in sorted(others(name))]
)
def test_bytes_decide_not_the_ending(name: str, other: str):
    assert refusal(f"x.{other}", SAMPLES[name]) == "kind_differs"


@pytest.mark.parametrize("name", ["x.svg", "x.docm", "x.doc", "x.gif", "x.exe", "x.heic", "x.html"])
def test_other_kinds_are_not_taken(name: str):
    assert refusal(name, b"<svg xmlns='http://www.w3.org/2000/svg'/>") == "kind_not_taken"


@pytest.mark.parametrize("name", SAMPLES)
def test_half_a_file_is_refused_or_clean(name: str):
    """Cut anywhere, a file gives an answer, never another exception."""
    content = SAMPLES[name]
    for at in {1, 5, 13, len(content) // 3, len(content) // 2, len(content) - 1}:
        try:
            examined(name, content[:at])
        except (MalformedError, UnsupportedMediaError):
            continue


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("C:\\文件\\通知.docx", "通知.docx"),
        ("../../etc/通知.docx", "通知.docx"),
        ("通\u202e知\u200b\x00.docx", "通知.docx"),
        ("长" * 300 + ".docx", "长" * 115 + ".docx"),
    ],
)
def test_a_name_is_only_a_name(given: str, kept: str):
    assert examined(given, a_docx()).name == kept


@pytest.mark.parametrize("name", ["", ".docx", "docx", "通知.", "/"])
def test_a_name_needs_its_ending(name: str):
    assert refusal(name, a_docx()) == "name_without_ending"


def test_too_large_and_empty(monkeypatch: pytest.MonkeyPatch):
    assert refusal("a.txt", b"") == "file_empty"
    monkeypatch.setattr("review.uploads.examining.LARGEST", 4)
    with pytest.raises(TooLargeError):
        examined("a.txt", b"12345")
    monkeypatch.undo()
    monkeypatch.setattr("review.uploads.examining.MOST_TEXT", 4)
    assert refusal("a.txt", b"12345") == "document_too_long"


def test_text_in_the_old_encoding_is_kept_in_the_new():
    assert examined("a.txt", "植树通知。".encode("gb18030")).content == "植树通知。".encode()
    assert refusal("a.txt", b"\x01\x02binary") == "kind_differs"


# --- Word -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "xml"),
    [
        ("word/header1.xml", "<w:hdr {}>{}</w:hdr>"),
        ("word/footer1.xml", "<w:ftr {}>{}</w:ftr>"),
        ("word/comments.xml", "<w:comments {}><w:comment>{}</w:comment></w:comments>"),
        ("word/footnotes.xml", "<w:footnotes {}><w:footnote>{}</w:footnote></w:footnotes>"),
        ("docProps/core.xml", "<coreProperties {}><title>{}</title></coreProperties>"),
        ("docProps/custom.xml", "<Properties {}><property>{}</property></Properties>"),
        ("customXml/item1.xml", "<any {}>{}</any>"),
    ],
)
def test_every_part_of_a_document_is_read(part: str, xml: str):
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    cut = paragraph(IDENTITY[:7], IDENTITY[7:])  # two runs, as Word cuts words

    found = examined("a.docx", a_docx(parts={part: xml.format(w, cut)}))

    assert stops(found) == {"ID_NUMBER"}


@pytest.mark.parametrize(
    "body",
    [
        f"<w:tbl><w:tr><w:tc>{paragraph(MARK)}</w:tc></w:tr></w:tbl>",
        f"<w:p><w:r><w:txbxContent>{paragraph('机密', '★')}</w:txbxContent></w:r></w:p>",
        f"<w:p><w:r><w:delText>{MARK}</w:delText></w:r></w:p>",
        f'<w:p><w:docPr descr="{MARK}"/></w:p>',
        f"<w:p><!-- {MARK} --></w:p>",
    ],
    ids=["table", "text box", "deleted", "description", "comment"],
)
def test_marks_hidden_in_a_document_are_found(body: str):
    assert stops(examined("a.docx", a_docx(body))) == {"CLASSIFIED_MARK"}


def test_a_number_with_each_digit_in_its_own_cell_is_a_number():
    """Forms have boxes for it."""
    cells = "".join(f"<w:tc>{paragraph(digit)}</w:tc>" for digit in IDENTITY)
    found = examined("a.docx", a_docx(f"<w:tbl><w:tr>{cells}</w:tr></w:tbl>"))
    assert stops(found) == {"ID_NUMBER"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (a_docx(parts={"word/vbaProject.bin": b"x"}), "document_active"),
        (a_docx(parts={"word/embeddings/oleObject1.bin": b"x"}), "document_active"),
        (a_docx(parts={"word/embeddings/Sheet.xlsx": b"x"}), "document_active"),
        (a_docx(parts={"word/activeX/activeX1.xml": "<x/>"}), "document_active"),
        (a_docx(parts={"word/afchunk.mht": b"x"}), "document_active"),
        (a_docx(types='<Default Extension="x" ContentType="application/vnd.ms-word.document.'
                'macroEnabled.main+xml"/>'), "document_active"),
        (a_docx(parts={"word/_rels/document.xml.rels": rels(link("image", "http://x/a.png",
                external=True))}), "document_elsewhere"),
        (a_docx(parts={"word/_rels/document.xml.rels": rels(link("hyperlink", "file:///c:/x",
                external=True))}), "document_elsewhere"),
        (a_docx(parts={"word/media/a.svg": b"<svg/>"}), "document_part"),
        (a_docx(parts={"word/x.xml": "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"}),
         "document_broken"),
        (a_docx(parts={"word/x.xml": "<x>"}), "document_broken"),
        (a_docx(parts={"../x.xml": "<x/>"}), "document_broken"),
        (a_docx(parts={"word/x.xml": b"<x>" + b" " * 30_000_000 + b"</x>"}), "archive_too_large"),
        (a_docx(parts={f"word/x{n}.xml": "<x/>" for n in range(3_100)}), "archive_too_large"),
        (b"PK\x03\x04 no archive", "document_broken"),
    ],
)  # fmt: skip
def test_what_a_document_must_not_hold(content: bytes, code: str):
    assert refusal("a.docx", content) == code


def test_an_archive_that_is_no_document_is_not_taken():
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "x")
    assert refusal("a.docx", packed.getvalue()) == "kind_differs"


def test_template_and_owner_are_left_out_and_pictures_drawn_anew():
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    parts: dict[str, str | bytes] = {
        "word/settings.xml": f'<w:settings {w}><w:attachedTemplate w:id="r1"/></w:settings>',
        "word/_rels/settings.xml.rels": rels(
            link("attachedTemplate", "file:///c:/a.dotm", external=True)
        ),
        "word/_rels/document.xml.rels": rels(
            link("hyperlink", "https://lcj.hebei.gov.cn/", external=True)
        ),
        "word/media/image1.jpeg": a_photo(),
        "docProps/thumbnail.jpeg": b"CANARY",
        "docProps/custom.xml": "<Properties><property>CANARY</property></Properties>",
    }

    with ZipFile(BytesIO(examined("a.docx", a_docx(parts=parts)).content)) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}

    whole = b"".join(kept.values())
    assert b"CANARY" not in whole and b"dotm" not in whole and b"attachedTemplate" not in whole
    assert b"https://lcj.hebei.gov.cn/" in whole
    assert next(iter(kept)) == "[Content_Types].xml"
    assert "docProps/custom.xml" not in kept


# --- PDF ------------------------------------------------------------------------------------------


def test_pages_are_read_and_stop():
    found = examined("a.pdf", a_pdf("first page", f"number {IDENTITY} here"))

    assert stops(found) == {"ID_NUMBER"}
    assert "first page" in found.texts["page.1"]
    assert found.notes == ()


def test_pages_without_text_are_told():
    assert examined("a.pdf", a_pdf("")).notes == ("no_text",)
    assert examined("a.pdf", a_pdf("text", "")).notes == ("pages_without_text",)


def test_a_locked_pdf_is_refused():
    for owner, user in (("secret", "secret"), ("secret", "")):
        told = BytesIO()
        with pikepdf.open(BytesIO(a_pdf())) as pdf:
            pdf.save(told, encryption=pikepdf.Encryption(owner=owner, user=user))
        assert refusal("a.pdf", told.getvalue()) == "pdf_locked"


def test_a_pdf_only_shows():
    name, words = pikepdf.Name, pikepdf.Dictionary

    def script() -> pikepdf.Dictionary:
        return words(S=name.JavaScript, JS="CANARY.alert(1)")

    def file() -> pikepdf.Dictionary:
        return words(Type=name.Filespec, F="CANARY.exe", EF=words(F=words(Type=name.EmbeddedFile)))

    content = a_pdf(
        "shown",
        OpenAction=script(),
        AA=words(WC=script()),
        Names=words(
            JavaScript=words(Names=["a", script()]), EmbeddedFiles=words(Names=["b", file()])
        ),
        AF=pikepdf.Array([file()]),
        Collection=words(D="CANARY"),
    )
    told = BytesIO()
    with pikepdf.open(BytesIO(content)) as pdf:
        pdf.docinfo["/Author"] = "CANARY-OWNER"
        pdf.Root["/Metadata"] = pdf.make_stream(b"<x>CANARY-XMP</x>")
        rect = [0, 0, 10, 10]
        pdf.pages[0].obj["/Annots"] = pdf.make_indirect(
            pikepdf.Array(
                [
                    words(Type=name.Annot, Subtype=name.FileAttachment, Rect=rect, FS=file()),
                    words(Type=name.Annot, Subtype=name.Link, Rect=rect,
                          A=words(S=name.Launch, F="CANARY.exe")),
                    words(Type=name.Annot, Subtype=name.Link, Rect=rect,
                          A=words(S=name.URI, URI="https://lcj.hebei.gov.cn/", Next=script())),
                    words(Type=name.Annot, Subtype=name.Link, Rect=rect,
                          A=words(S=name.URI, URI="javascript:CANARY")),
                ]
            )
        )  # fmt: skip
        pdf.pages[0].obj["/AA"] = words(O=script())
        pdf.save(told, fix_metadata_version=False)

    cleaned = examined("a.pdf", told.getvalue())

    with pikepdf.open(BytesIO(cleaned.content)) as pdf:
        whole = b"".join(held.unparse(resolved=True) for held in pdf.objects)
        whole += pdf.trailer.unparse()
    assert b"CANARY" not in whole
    assert b"https://lcj.hebei.gov.cn/" in whole
    assert "shown" in cleaned.texts["page.1"]
    assert "CANARY-OWNER" in cleaned.texts["strings"], "what is left out is screened as well"


def test_a_pdf_that_swells_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch):
    def swelling(size: int, filters: str = "/FlateDecode") -> bytes:
        packed = zlib.compress(bytes(size))
        return a_pdf().replace(
            b"%%EOF",
            f"9 0 obj <</Filter {filters} /Length {len(packed)}>>\nstream\n".encode()
            + packed
            + b"\nendstream endobj\n%%EOF",
        )

    assert refusal("a.pdf", swelling(200 * 1024 * 1024)) == "archive_too_large"
    monkeypatch.setattr(pdf, "LARGEST_UNPACKED", 10_000)
    assert refusal("a.pdf", swelling(20_000)) == "archive_too_large"
    assert refusal("a.pdf", swelling(5, "[/FlateDecode /FlateDecode]")) == "document_broken"
    assert examined("a.pdf", swelling(5)).kind == "pdf"


def test_titles_and_remarks_of_a_pdf_are_screened():
    note = pikepdf.Dictionary(
        Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Text, Rect=[0, 0, 9, 9], Contents=MARK
    )
    told = BytesIO()
    with pikepdf.open(BytesIO(a_pdf())) as pdf:
        pdf.pages[0].obj["/Annots"] = pikepdf.Array([note])
        pdf.save(told)

    assert stops(examined("a.pdf", told.getvalue())) == {"CLASSIFIED_MARK"}


def test_what_is_filled_into_a_form_stands_on_the_page():
    words, name = pikepdf.Dictionary, pikepdf.Name
    told = BytesIO()
    with pikepdf.open(BytesIO(a_pdf())) as pdf:
        font = pdf.pages[0].obj.Resources.Font.F1
        field = pdf.make_indirect(
            words(
                Type=name.Annot, Subtype=name.Widget, FT=name.Tx, T=pikepdf.String("f"),
                V=pikepdf.String("filled in"), Rect=[10, 10, 200, 40], DA=b"/F1 12 Tf 0 g", F=4,
                P=pdf.pages[0].obj,
            )
        )  # fmt: skip
        pdf.pages[0].obj["/Annots"] = pikepdf.Array([field])
        pdf.Root["/AcroForm"] = words(
            Fields=pikepdf.Array([field]), DA=b"/F1 12 Tf 0 g", NeedAppearances=True,
            DR=words(Font=words(F1=font)), XFA=b"<CANARY/>",
        )  # fmt: skip
        pdf.save(told)

    cleaned = examined("a.pdf", told.getvalue())

    assert "filled in" in cleaned.texts["page.1"]
    with pikepdf.open(BytesIO(cleaned.content)) as pdf:
        assert "/AcroForm" not in pdf.Root


def test_photos_in_a_pdf_do_not_say_where_they_were_taken():
    photo = a_photo()

    plain = without_segments(photo)

    assert b"Exif" in photo and b"Exif" not in plain and b"CANARY" not in plain
    with Image.open(BytesIO(plain)) as image:
        image.load()


# --- pictures, sound, film ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", "webp", "png"])
def test_a_picture_is_drawn_anew_upright_without_its_place(ending: str):
    form = {"jpg": "JPEG", "webp": "WEBP", "png": "PNG"}[ending]
    with Image.open(BytesIO(a_photo())) as photo:
        told = BytesIO()
        photo.save(told, form, exif=photo.getexif())

    cleaned = examined(f"a.{ending}", told.getvalue())

    assert (cleaned.width, cleaned.height) == (20, 40)
    with Image.open(BytesIO(cleaned.content)) as image:
        assert image.size == (20, 40)
        assert not image.getexif()
        assert not set(image.info) & {"exif", "xmp", "comment", "icc_profile"}
    assert b"CANARY" not in cleaned.content


def test_bombs_and_moving_pictures_are_refused(monkeypatch: pytest.MonkeyPatch):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for form, ending in (("PNG", "png"), ("WEBP", "webp")):
        told = BytesIO()
        frames[0].save(told, form, save_all=True, append_images=frames[1:])
        assert refusal(f"a.{ending}", told.getvalue()) == "picture_moves"
    wide = BytesIO()
    Image.new("1", (16_384, 2)).save(wide, "PNG")
    assert refusal("a.png", wide.getvalue()) == "picture_too_large"
    monkeypatch.setattr(images, "MOST_PIXELS", 799)
    assert refusal("a.png", a_picture("PNG")) == "picture_too_large"


def test_a_huge_picture_is_refused_before_it_is_unpacked():
    huge = BytesIO()
    Image.new("1", (15_000, 15_000)).save(huge, "PNG")
    assert len(huge.getvalue()) < 100_000
    assert refusal("a.png", huge.getvalue()) == "picture_too_large"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "I;16", "CMYK"])
def test_every_way_to_keep_colours(mode: str):
    form, ending = ("JPEG", "jpg") if mode == "CMYK" else ("PNG", "png")
    if mode == "PA":
        form, ending = "WEBP", "webp"
    told = BytesIO()
    image = Image.new(mode, (9, 7)) if mode != "PA" else Image.new("RGBA", (9, 7))
    image.save(told, form)

    assert examined(f"a.{ending}", told.getvalue()).width == 9


def test_film_keeps_its_length_and_its_pictures():
    """Players find pictures by their place in the file."""
    content = an_mp4()

    kept = examined("a.mp4", content).content

    assert len(kept) == len(content)
    assert kept.find(b"picture and sound") == content.find(b"picture and sound")


def test_sound_keeps_what_is_heard():
    extra = b"LIST" + (12).to_bytes(4, "little") + b"INFOCANARY!!"
    assert examined("a.wav", a_wav(extra)).content == a_wav()
    assert examined("声.mp3", SAMPLES["声.mp3"]).content == (b"\xff\xfb\x90\x00" + bytes(413)) * 4
    assert b"sound" in examined("声.ogg", SAMPLES["声.ogg"]).content
