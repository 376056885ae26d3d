"""A bulletin as a Word file: title, text, tables; the office edits and stamps it there."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from docx import Document
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Cm, Pt

from review.rendering import printable
from review.texts import text

FONT = "仿宋"
EDGE = Cm(2)  # left and right of an A4 page: 17 cm remain for words and tables
NAMES, COUNT = Cm(3.5), Cm(1.5)  # a first column and nine of numbers
NUMBERS = (
    "submitted", "adopted", "returned", "on_time", "overdue", "corrected", "retracted", "original",
    "reposts",
)  # fmt: skip


def written(title: str, words: str, tables: Mapping[str, Any], foot: str) -> bytes:
    """Return a bulletin as a Word file.

    Args:
        tables: As `review.acts.bulletins.tables_of` gives them.
        foot: The last line: state, digest.
    """
    document = Document()
    page = document.sections[0]
    page.page_width, page.page_height = Cm(21), Cm(29.7)
    page.left_margin = page.right_margin = EDGE
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = FONT, Pt(12)
    normal.element.rPr.rFonts.set(qn("w:eastAsia"), FONT)
    heading = document.add_paragraph(printable(title))
    heading.alignment = WD_ALIGN_PARAGRAPH.CENTER
    heading.runs[0].bold, heading.runs[0].font.size = True, Pt(16)
    for line in words.splitlines():
        if line.strip():
            document.add_paragraph(printable(line)).paragraph_format.first_line_indent = Pt(24)
    for name in ("units", "kinds", "categories"):
        if tables[name]:
            heads = (text(f"dimension.{_ONE[name]}"), *(text(f"measure.{n}") for n in NUMBERS))
            rows = [(row["name"], *(row[n] for n in NUMBERS)) for row in tables[name]]
            _table(document, heads, rows, (NAMES, *(COUNT for _ in NUMBERS)))
    if tables["steps"]:
        times = ("decisions", "median_hours", "p90_hours")
        heads = (text("bulletin.step"), *(text(f"bulletin.{n}") for n in times))
        rows = [
            (text(f"step.{one['step']}"), *("" if one[n] is None else one[n] for n in times))
            for one in tables["steps"]
        ]
        _table(document, heads, rows, (Cm(4.5), Cm(4), Cm(4), Cm(4)))
    document.add_paragraph(printable(foot)).runs[0].font.size = Pt(9)
    out = BytesIO()
    document.save(out)
    return out.getvalue()


_ONE = {"units": "unit", "kinds": "kind", "categories": "category"}


def _table(
    document: Any, heads: Sequence[str], rows: Sequence[Sequence[Any]], widths: Sequence[Cm]
) -> None:
    """Add a table whose columns keep their widths, and whose head goes along to each page.

    Word takes a column's width from its cells, LibreOffice from the table's grid: both get it.
    """
    document.add_paragraph().paragraph_format.keep_with_next = True
    table = document.add_table(rows=1, cols=len(heads), style="Table Grid")
    table.autofit = False
    for cell, words in zip(table.rows[0].cells, heads, strict=True):
        cell.text = words
    for row in rows:
        cells = table.add_row().cells
        for cell, value in zip(cells, row, strict=True):
            cell.text = printable(str(value))
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    for line in table.rows:
        _mark(line, "w:cantSplit")
        for cell, width in zip(line.cells, widths, strict=True):
            cell.width = width
            for run in (run for paragraph in cell.paragraphs for run in paragraph.runs):
                run.font.size = Pt(9)
    _mark(table.rows[0], "w:tblHeader")
    for cell in table.rows[0].cells:
        for paragraph in cell.paragraphs:
            paragraph.paragraph_format.keep_with_next = True


def _mark(row: Any, name: str) -> None:
    row._tr.get_or_add_trPr().append(OxmlElement(name))
