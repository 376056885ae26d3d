"""A bulletin as a Word file: title, text, tables; the office edits and stamps it there."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from docx import Document
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml.ns import qn
from docx.shared import Cm, Pt

from review.rendering import printable
from review.texts import text

FONT = "仿宋"
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
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = FONT, Pt(12)
    normal.element.rPr.rFonts.set(qn("w:eastAsia"), FONT)
    heading = document.add_paragraph(printable(title))
    heading.alignment = WD_ALIGN_PARAGRAPH.CENTER
    heading.runs[0].bold, heading.runs[0].font.size = True, Pt(18)
    for line in words.splitlines():
        if line.strip():
            document.add_paragraph(printable(line)).paragraph_format.first_line_indent = Pt(24)
    for name in ("units", "kinds", "categories"):
        if tables[name]:
            _table(document, text(f"dimension.{_ONE[name]}"), tables[name])
    document.add_paragraph(printable(foot)).runs[0].font.size = Pt(9)
    out = BytesIO()
    document.save(out)
    return out.getvalue()


_ONE = {"units": "unit", "kinds": "kind", "categories": "category"}


def _table(document: Any, head: str, rows: Sequence[Mapping[str, Any]]) -> None:
    document.add_paragraph()
    table = document.add_table(rows=1, cols=len(NUMBERS) + 1, style="Table Grid")
    heads = (head, *(text(f"measure.{name}") for name in NUMBERS))
    for cell, words in zip(table.rows[0].cells, heads, strict=True):
        cell.text = words
    for row in rows:
        cells = table.add_row().cells
        for cell, value in zip(cells, (row["name"], *(row[n] for n in NUMBERS)), strict=True):
            cell.text = printable(str(value))
    for line in table.rows:
        line.cells[0].width = Cm(4.5)
        for cell in line.cells:
            for paragraph in cell.paragraphs:
                for run in paragraph.runs:
                    run.font.size = Pt(9)
