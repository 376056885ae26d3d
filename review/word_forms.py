"""The official forms as Word files: annex 1 and 2 exactly as issued, and a 附页 behind them.

The bureau may edit a form in Word: what lies in `DATA/forms/annex1.docx` is filled instead of our
own template, which `sanshen form --template` writes out for that. Only the template's author
writes template commands; what people typed is put in as text.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Literal

import segno
from docx import Document
from docx.enum.section import WD_SECTION
from docx.enum.table import WD_TABLE_ALIGNMENT
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml.ns import qn
from docx.shared import Cm, Mm, Pt
from docx.table import _Cell
from docxtpl import DocxTemplate, InlineImage
from jinja2.sandbox import SandboxedEnvironment

from review.rendering import printable
from review.texts import text

Form = Literal["annex1", "annex2"]
FORMS: tuple[Form, ...] = ("annex1", "annex2")
BOXES: dict[Form, tuple[str, ...]] = {  # the forms' own order (RA1-9, RA2-8 to RA2-10)
    "annex1": ("center",),
    "annex2": ("leader", "office", "center"),
}
FONT = "仿宋"
COLUMNS = 6
BOX_HEIGHT = Cm(3.6)


class TemplateError(Exception):
    """The bureau's own template can't be filled; the message names what is wrong with it."""


def template(form: Form) -> bytes:
    """Return a form as issued, with a place for everything that is filled in."""
    document = Document()
    _set_font(document)
    heading = document.add_paragraph(text(f"form.{form}.title"))
    heading.alignment = WD_ALIGN_PARAGRAPH.CENTER
    heading.runs[0].font.size = Pt(16)
    heading.runs[0].bold = True
    table = document.add_table(rows=0, cols=COLUMNS)
    table.style, table.alignment = "Table Grid", WD_TABLE_ALIGNMENT.CENTER

    def row(*cells: tuple[str, int]) -> list[_Cell]:
        """Add a row of cells, each with its text and how many columns it takes."""
        made, place = table.add_row().cells, 0
        found = []
        for words, width in cells:
            cell = made[place].merge(made[place + width - 1])
            cell.text = words
            found.append(cell)
            place += width
        return found

    row((text(f"form.{form}.head"), 6))
    row((text("form.title"), 1), ("{{ title }}", 5))
    row(
        (text("form.unit"), 1), ("{{ unit }}", 1), (text("form.author"), 1), ("{{ author }}", 1),
        (text("form.reviewer"), 1), ("{{ reviewer }}", 1),
    )  # fmt: skip
    row((text("form.document"), 1), (text("form.document_value"), 5))
    choice = f"{{{{ yes }}}} {text('form.yes')}　{{{{ no }}}} {text('form.no')}"
    row((text("form.repost"), 1), (choice, 2), (text("form.source"), 1), ("{{ source }}", 2))
    for box in BOXES[form]:
        _, opinions = row((text(f"form.{box}"), 1), (f"{{%p for one in {box} %}}", 5))
        opinions.add_paragraph("{{ one.text }}")
        signed = opinions.add_paragraph("{{ one.name }}　{{ one.on }}")
        signed.alignment = WD_ALIGN_PARAGRAPH.RIGHT
        opinions.add_paragraph("{%p endfor %}")
        table.rows[-1].height = BOX_HEIGHT
    document.add_section(WD_SECTION.NEW_PAGE)
    document.add_paragraph(f"{text('form.more')}　{{{{ number }}}}").runs[0].bold = True
    more = document.add_table(rows=3, cols=2)
    more.style = "Table Grid"
    more.cell(0, 0).text = "{%tr for line in more %}"
    more.cell(1, 0).text, more.cell(1, 1).text = "{{ line.name }}", "{{ line.value }}"
    more.cell(2, 0).text = "{%tr endfor %}"
    for cells in more.rows:
        cells.cells[0].width, cells.cells[1].width = Cm(3.6), Cm(12.4)
    document.add_paragraph("{{ qr }}")
    document.add_paragraph("{{ verify }}")
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def filled(
    form: Mapping[str, Any], more: Sequence[tuple[str, str]], own: bytes | None = None
) -> bytes:
    """Return a form as a Word file.

    Args:
        form: What stands in its boxes, as `review.acts.forms.form_of` gives it.
        more: The lines of the 附页.
        own: The bureau's own template instead of ours.

    Raises:
        TemplateError: The bureau's own template is no Word file, or its commands are wrong.
    """
    source = form["source"].get("name", "") if form["repost"] else ""
    boxes = {
        box["key"]: [
            {name: _clean(words) for name, words in one.items()} for one in box["opinions"]
        ]
        for box in form["boxes"]
    }
    plain = ("number", "title", "unit", "author", "reviewer")
    values: dict[str, Any] = {
        **{name: _clean(form[name]) for name in plain},
        **boxes,
        "source": _clean(source),
        "yes": "☑" if form["repost"] else "☐",
        "no": "☐" if form["repost"] else "☑",
        "more": [{"name": name, "value": _clean(value)} for name, value in more],
        "verify": text("form.verify") + form["verify"] if form["verify"] else "",
        "qr": "",
    }
    try:
        document = DocxTemplate(BytesIO(own or template(form["form"])))
        if form["verify"]:
            code = BytesIO()
            segno.make(form["verify"], error="m").save(code, kind="png", scale=6, border=2)
            values["qr"] = InlineImage(document, code, width=Mm(28))
        document.render(values, SandboxedEnvironment(), autoescape=True)
        out = BytesIO()
        document.save(out)
    except Exception as error:
        if own is None:
            raise
        raise TemplateError(f"{type(error).__name__}: {error}") from None
    return out.getvalue()


def _clean(words: Any) -> str:
    """Return text as XML can hold it; lines stay lines."""
    return "\n".join(printable(line) for line in str(words).splitlines())


def _set_font(document: Any) -> None:
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = FONT, Pt(12)
    normal.element.rPr.rFonts.set(qn("w:eastAsia"), FONT)
