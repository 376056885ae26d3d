"""What leaves as files: an item's official form, and the ledger as a table."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from starter.cli_output import OUTSIDE, fail, language, word

Json = dict[str, Any]

PAGE = 200  # lines the interface gives at once
ENDINGS = (".xlsx", ".csv", ".jsonl")
ZONE = ZoneInfo("Asia/Shanghai")
MOMENTS = ("submitted_at", "item_due_at", "due_at")
COLUMNS = (
    "number", "title", "category", "level", "kind", "urgency", "unit", "status", "overdue",
    "submitted_at", "item_due_at", "version", "round", "findings", "digest", "id",
)  # fmt: skip
WIDTHS = {"title": 48, "unit": 20, "digest": 24, "id": 20}  # characters
MOST_ROWS = 1_048_575  # of a sheet, its heading apart


def pages(client: Any, filters: Mapping[str, Any]) -> Iterator[list[Json]]:
    """Yield what the token's person may see, a page at a time, the newest first."""
    after = None
    while True:
        found = client.get("/submissions", limit=PAGE, after=after, **filters)
        yield found["items"]
        after = found["next"]
        if after is None:
            return


def rows(items: Iterable[Json]) -> Iterator[list[Any]]:
    """Yield a row an item: moments in the bureau's time, numbers as numbers, words as read."""
    for item in items:
        found: list[Any] = []
        for name in COLUMNS:
            value = item.get(name)
            if name in MOMENTS and value:
                value = datetime.fromisoformat(value).astimezone(ZONE).replace(tzinfo=None)
            elif isinstance(value, Mapping):
                value = value["name"]
            elif name in ("category", "level", "kind", "urgency", "status") and value:
                value = _named(name, str(value))
            found.append(value)
        yield found


def _named(name: str, value: str) -> str:
    from review.texts import text

    code = f"{name}.{value}"
    said = text(code, language())
    return value if said == code else said


def heads() -> list[str]:
    return [word(name) for name in COLUMNS]


def write_ledger(path: Path, client: Any, filters: Mapping[str, Any]) -> int:
    """Write every item that the person may see and the filters let through.

    Args:
        path: `.xlsx`, `.csv` or `.jsonl`; a file that was there is replaced once all is written.

    Returns:
        How many items.
    """
    if path.suffix.lower() not in ENDINGS:
        fail("export_ending", endings=", ".join(ENDINGS), file=path)
    new = path.with_name(f".{path.name}.new")
    writers = {".xlsx": _write_xlsx, ".csv": _write_csv, ".jsonl": _write_lines}
    try:
        count = writers[path.suffix.lower()](new, _shown(pages(client, filters)))
        os.replace(new, path)
    except OSError as error:
        fail("file_unwritable", OUTSIDE, file=path, why=error.strerror or type(error).__name__)
    finally:
        new.unlink(missing_ok=True)
    return count


def _shown(found: Iterator[list[Json]]) -> Iterator[Json]:
    """Yield items and show how many have come; how many there will be nobody knows."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        for page in found:
            yield from page
            progress.advance(task, len(page))


def _write_xlsx(path: Path, items: Iterable[Json]) -> int:
    """Write typed cells under a heading that stays; text is never a formula."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    sheet = book.create_sheet("sanshen")
    sheet.freeze_panes = "A2"
    for place, name in enumerate(COLUMNS, 1):
        sheet.column_dimensions[get_column_letter(place)].width = WIDTHS.get(
            name, 18 if name in MOMENTS else 12
        )

    def cell(value: Any, bold: bool = False) -> Any:
        made = WriteOnlyCell(sheet, value=_plain(value) if isinstance(value, str) else value)
        if isinstance(value, str):
            made.data_type = "s"  # what begins with = is text, whoever typed it
        if isinstance(value, datetime):
            made.number_format = "yyyy-mm-dd hh:mm"
        if bold:
            made.font = Font(bold=True)
        return made

    count = 0
    try:
        sheet.append([cell(head, bold=True) for head in heads()])
        for count, row in enumerate(rows(items), 1):
            if count > MOST_ROWS:
                fail("export_too_long", most=MOST_ROWS)
            sheet.append([cell(value) for value in row])
    except BaseException:
        sheet.close()  # or its writer complains at the interpreter's end
        raise
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(COLUMNS))}{count + 1}"
    book.save(path)
    return count


def _plain(value: str) -> str:
    """Return text without what a sheet can't hold."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    return ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)


def _write_csv(path: Path, items: Iterable[Json]) -> int:
    """Write CSV as spreadsheets read it; no cell begins a formula."""
    from starter.web.pages.register import neutral

    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.writer(file, lineterminator="\r\n")
        out.writerow(heads())
        for count, row in enumerate(rows(items), 1):  # noqa: B007
            out.writerow([neutral(str("" if value is None else value)) for value in row])
    return count


def _write_lines(path: Path, items: Iterable[Json]) -> int:
    """Write a line of JSON an item, as the interface gives it, for the archive."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, item in enumerate(items, 1):  # noqa: B007
            file.write(json.dumps(item, ensure_ascii=False, sort_keys=True) + "\n")
    return count


def write_file(path: Path, content: bytes) -> None:
    """Put a file in its place, whole."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        fail("file_unwritable", OUTSIDE, file=path, why=error.strerror or type(error).__name__)
