"""Bulletins: prepared once, signed and issued by different people over what they read (R5.2-4)."""

import random
from datetime import datetime, timedelta
from io import BytesIO

import pytest
from docx import Document
from docx.oxml.ns import qn

from review.acts import bulletins
from review.records.bulletins import Bulletin
from review.records.engine import Ledger
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.periods import bounds, past
from review.word_bulletins import written
from tests.acting import Course
from tests.bench import years
from tests.examples import SHANGHAI, a_draft, who

JANUARY = datetime(2027, 1, 4, 9, tzinfo=SHANGHAI)
QUARTER = "2026-Q4"


@pytest.fixture
def drafted(ledger: Ledger) -> Ledger:
    """A ledger with a quarter's draft: one item adopted, one returned."""
    chance = random.Random(3)
    for sort in ("plain", "returned"):
        course = Course(ledger, **years._text(chance))
        years.RUNS.get(sort, years._through)(course, chance)
    ledger.write(bulletins.prepare, QUARTER, JANUARY)
    return ledger


def do(ledger: Ledger, person: str, deed: str, digest: str = "", **more):
    def act(session):
        read = digest or session.get_one(Bulletin, QUARTER).digest
        return bulletins.act(session, who(session, person), QUARTER, deed, read, JANUARY, **more)

    return ledger.write(act)


def seen(ledger: Ledger, person: str):
    with ledger.reading() as session:
        return bulletins.bulletin(session, who(session, person), QUARTER)


def test_chief_signs_leader_issues_and_then_everybody_reads(drafted: Ledger):
    """A-21: inside the bureau."""
    with pytest.raises(NotFoundError):
        seen(drafted, "fire_info")

    do(drafted, "chief", "sign")
    do(drafted, "leader_pub", "issue")

    found = seen(drafted, "fire_info")
    assert found["state"] == "issued" and found["signed_by"]["name"] == "chief"
    assert "采用2件" in found["text"] and "退回修改1件" in found["text"]
    assert [row["unit"] for row in found["tables"]["units"]] == ["afforest"]


def test_nobody_else_signs_or_issues_and_nothing_out_of_turn(drafted: Ledger):
    for person in ("supervisor_a", "leader_pub", "editor_a"):
        with pytest.raises(NotAllowedError):
            do(drafted, person, "sign")
    with pytest.raises(RefusedError, match="wrong_status"):
        do(drafted, "leader_pub", "issue")
    do(drafted, "chief", "sign")
    with pytest.raises(NotAllowedError):
        do(drafted, "chief", "issue")
    with pytest.raises(RefusedError, match="wrong_status"):
        do(drafted, "chief", "revise", words="另一段")


def test_what_was_changed_since_is_not_signed(drafted: Ledger):
    before = seen(drafted, "chief")["digest"]
    do(drafted, "chief", "revise", words="经核实，本季度情况通报如下。")

    with pytest.raises(RefusedError, match="stale_version"):
        do(drafted, "chief", "sign", digest=before)
    assert seen(drafted, "chief")["state"] == "draft"


def test_same_input_gives_the_same_digest_and_one_bulletin(drafted: Ledger):
    first = seen(drafted, "chief")["digest"]
    assert drafted.write(bulletins.prepare, QUARTER, JANUARY)["digest"] == first

    drafted.write(lambda session: session.delete(session.get_one(Bulletin, QUARTER)))
    again = drafted.write(bulletins.prepare, QUARTER, JANUARY + timedelta(days=40))

    assert again["digest"] == first


def test_due_are_the_periods_that_are_over_and_have_none(drafted: Ledger):
    with drafted.reading() as session:
        assert bulletins.due(session, JANUARY) == ("2026-11", "2026-12")
        assert bulletins.due(session, JANUARY - timedelta(days=20)) == ("2026-11",)


def test_public_only_as_an_ordinary_item_once(drafted: Ledger):
    draft = a_draft(title=bulletins.title_of(QUARTER), body="第四季度情况通报如下。")

    def publish(session):
        return bulletins.publish(
            session, who(session, "center_info"), QUARTER, draft, JANUARY, way_in="api"
        )

    with pytest.raises(NotFoundError):  # a draft is nobody else's
        drafted.write(publish)
    do(drafted, "chief", "sign")
    do(drafted, "leader_pub", "issue")
    answer = drafted.write(publish)

    assert answer["status"] == "in_review"
    assert answer["plan"][0]["step"] == "unit_review"
    with pytest.raises(RefusedError, match="wrong_status"):
        drafted.write(publish)


def test_period_that_is_not_over_has_none(quick_ledger: Ledger):
    for period in ("2026-Q4", "2026-13", "2026-Q0"):
        with pytest.raises(NotFoundError):
            quick_ledger.write(bulletins.prepare, period, datetime(2026, 12, 31, tzinfo=SHANGHAI))


def test_periods_end_at_the_bureaus_midnight():
    begins, ends = bounds("2026-Q4", SHANGHAI)
    assert begins == datetime(2026, 10, 1, tzinfo=SHANGHAI)
    assert ends == datetime(2027, 1, 1, tzinfo=SHANGHAI)
    assert past(datetime(2026, 9, 30, tzinfo=SHANGHAI), ends, SHANGHAI) == (
        "2026-09", "2026-Q3", "2026-10", "2026-11", "2026-12", "2026-Q4"
    )  # fmt: skip
    assert past(begins, ends - timedelta(seconds=1), SHANGHAI) == ("2026-10", "2026-11")


def test_word_file_has_text_and_tables(drafted: Ledger):
    found = seen(drafted, "chief")

    document = Document(
        BytesIO(written(bulletins.title_of(QUARTER), found["text"], found["tables"], "草稿"))
    )

    assert document.paragraphs[0].text == "关于2026年第4季度政务新媒体信息保障情况的通报"
    rows = [[cell.text for cell in row.cells] for row in document.tables[0].rows]
    assert rows[0][:3] == ["单位", "报送", "采用"] and rows[1][:4] == ["afforest", "2", "2", "1"]


def test_word_table_keeps_its_widths_and_its_head(drafted: Ledger):
    """Word reads a cell's width, LibreOffice the grid's; a lone head at a foot is no use."""
    found = seen(drafted, "chief")

    document = Document(BytesIO(written("通报", found["text"], found["tables"], "草稿")))

    page = document.sections[0]
    for table in document.tables:
        grid = [column.width for column in table.columns]
        assert not table.autofit
        assert [cell.width for cell in table.rows[0].cells] == grid
        assert sum(grid) <= page.page_width - page.left_margin - page.right_margin
        head = table.rows[0]
        assert head._tr.trPr.find(qn("w:tblHeader")) is not None
        assert all(cell.paragraphs[0].paragraph_format.keep_with_next for cell in head.cells)


def test_word_file_tells_how_long_each_step_took(drafted: Ledger):
    found = seen(drafted, "chief")

    document = Document(BytesIO(written("通报", found["text"], found["tables"], "草稿")))

    head, *rows = [[cell.text for cell in row.cells] for row in document.tables[-1].rows]
    assert head == ["环节", "决定数", "中位数（工作小时）", "P90（工作小时）"]
    assert [row[1:] for row in rows] == [
        [str(step[name]) for name in ("decisions", "median_hours", "p90_hours")]
        for step in found["tables"]["steps"]
    ]
    assert rows and all(row[0] and "step." not in row[0] for row in rows)
