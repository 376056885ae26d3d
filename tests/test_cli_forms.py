"""`sanshen form` and `sanshen export`: files for Word, for spreadsheets and for the archive."""

import csv
import json
from datetime import datetime
from pathlib import Path
from zipfile import is_zipfile

import pytest
from openpyxl import load_workbook

from tests.test_cli_usage import FakeWeb, as_person, one_line, sanshen, web  # noqa: F401

FORMULA = '=HYPERLINK("http://x","y")'


def item(number: int, **more: object) -> dict[str, object]:
    return {
        "id": f"s{number:06}", "number": f"2026-{number:06}", "title": f"第{number}件",
        "category": "work_news", "level": None, "kind": "disclosure", "urgency": "normal",
        "status": "published", "version": 2, "round": 1, "digest": "sha256:" + "a" * 64,
        "unit": {"id": "fire", "name": "防火处"}, "submitted_at": "2026-11-22T01:30:00+00:00",
        "item_due_at": None, "overdue": False, "findings": 0,
    } | more  # fmt: skip


@pytest.fixture
def ledger(web: FakeWeb) -> FakeWeb:  # noqa: F811
    """Two pages of items, the first with a title that a spreadsheet would reckon."""
    first = [item(3, title=FORMULA), item(2, overdue=True)]
    second = [item(1, title="坏\x0b字")]
    web.answers["GET /api/v1/submissions?limit=200&category=work_news"] = (
        200, {"items": first, "next": "s000002"},
    )  # fmt: skip
    web.answers["GET /api/v1/submissions?limit=200&after=s000002&category=work_news"] = (
        200, {"items": second, "next": None},
    )  # fmt: skip
    return web


def exported(ledger: FakeWeb, folder: Path, name: str) -> Path:
    done = as_person(
        "export", "ledger", name, "--category", "work_news", "--json", web=ledger, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": name, "items": 3}
    assert [path.name for path in folder.iterdir()] == [name], "no half-written file stays"
    return folder / name


def test_xlsx_has_typed_cells_and_no_formula(ledger, tmp_path):
    sheet = load_workbook(exported(ledger, tmp_path, "台账.xlsx")).active

    rows = list(sheet.iter_rows(min_row=2))
    assert sheet.freeze_panes == "A2" and sheet.auto_filter.ref == "A1:P4"
    assert [row[0].value for row in rows] == ["2026-000003", "2026-000002", "2026-000001"]
    assert (rows[0][1].value, rows[0][1].data_type) == (FORMULA, "s")
    assert rows[0][9].value == datetime(2026, 11, 22, 9, 30), "the bureau's time"
    assert [row[8].value for row in rows] == [False, True, False]
    assert rows[0][11].value == 2 and rows[0][2].value == "工作动态类"
    assert "\x0b" not in rows[2][1].value


def test_csv_is_for_spreadsheets_and_lines_for_the_archive(ledger, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    content = exported(ledger, tmp_path / "a", "l.csv").read_bytes()
    lines = exported(ledger, tmp_path / "b", "l.jsonl").read_text().splitlines()

    rows = list(csv.reader(content.decode("utf-8-sig").splitlines()))
    assert content.startswith(b"\xef\xbb\xbf") and rows[1][1] == "'" + FORMULA
    assert [json.loads(line)["id"] for line in lines] == ["s000003", "s000002", "s000001"]


def test_wrong_ending_and_refusal_leave_what_was_there(ledger, tmp_path):
    kept = tmp_path / "l.xlsx"
    kept.write_bytes(b"before")
    ledger.answers["GET /api/v1/submissions?limit=200&after=s000002&category=work_news"] = (
        403, {"code": "not_allowed", "detail": "无权"},
    )  # fmt: skip

    wrong = as_person("export", "ledger", "l.pdf", web=ledger, cwd=tmp_path)
    refused = as_person(
        "export", "ledger", "l.xlsx", "--category", "work_news", web=ledger, cwd=tmp_path
    )

    assert wrong.returncode == 2 and ".xlsx" in one_line(wrong)
    assert refused.returncode == 5 and "not_allowed" in refused.stderr
    assert kept.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_form_is_fetched_and_templates_are_handed_out(web, tmp_path):  # noqa: F811
    web.answers["GET /api/v1/submissions/s1/form.docx"] = (200, {"stands": "for a file"})
    web.answers["GET /api/v1/submissions/s2/form.docx"] = (
        404, {"code": "not_found", "detail": "没有"},
    )  # fmt: skip

    assert as_person("form", "s1", "f.docx", web=web, cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "f.docx").read_bytes()) == {"stands": "for a file"}
    assert as_person("form", "s2", "g.docx", web=web, cwd=tmp_path).returncode == 4
    assert not (tmp_path / "g.docx").exists()
    assert sanshen("form", cwd=tmp_path).returncode == 2
    assert sanshen("form", "--template", ".", cwd=tmp_path).returncode == 0
    assert all(is_zipfile(tmp_path / f"annex{n}.docx") for n in (1, 2))
    assert sanshen("form", "--template", "nowhere", cwd=tmp_path).returncode == 3
