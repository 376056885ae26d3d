"""The official forms as Word files: the boxes as issued, what people decided, and a 附页."""

from io import BytesIO

import pytest
from docx import Document
from docxtpl import DocxTemplate

from review import word_forms
from review.acts.forms import form_of, supplement_of
from review.acts.item import Item
from review.word_forms import TemplateError, filled
from tests.acting import Course

HOSTILE = "{{ 7 * 7 }} {% for x in y %} <w:t>&amp;</w:t> ]]> \x0b尾"
SITE = "https://sanshen.example"


def written(course: Course, own: bytes | None = None) -> bytes:
    with course.ledger.reading() as session:
        item = Item.seen(session, course.id)
        return filled(form_of(session, item, site=SITE), supplement_of(session, item), own)


def boxes(content: bytes) -> list[list[str]]:
    """Return the first table's rows, each cell once however many columns it takes."""
    table = Document(BytesIO(content)).tables[0]
    return [[cell.text for cell in dict.fromkeys(row.cells)] for row in table.rows]


def supplement(content: bytes) -> dict[str, str]:
    rows = Document(BytesIO(content)).tables[1].rows
    return {row.cells[0].text: row.cells[1].text for row in rows}


def test_annex_1_has_every_box_as_issued(quick_ledger):
    """RA1-1 to RA1-9: both opinions of the centre in one box, with name and day."""
    course = Course(quick_ledger)
    course.publish(course.run())

    found = boxes(written(course))

    assert [row[0] for row in found] == [
        "政务信息、事项通知、新闻宣传稿件等工作动态类信息",
        "标题", "报送处室/单位", "信息文档", "是否转载", "局宣传中心意见",
    ]  # fmt: skip
    assert found[1][1] == course.row().title
    assert found[2][2] == "报送人员" and found[2][4] == "审核人" and all(found[2])
    assert found[4][1] == "☐ 是　☑ 否"
    opinions = found[5][1].strip().splitlines()
    assert [line for line in opinions if line.startswith("同意")] == ["同意", "同意"]
    assert sum(line.endswith("日") and "年" in line for line in opinions) == 2
    assert opinions[1].startswith("deputy_b") and opinions[3].startswith("chief")


def test_annex_2_has_its_boxes_in_the_forms_own_order(quick_ledger):
    """RA2-8 to RA2-10: the bureau's leader, the office, the centre."""
    course = Course(quick_ledger, category="important", sub_type="政策解读")
    course.publish(course.run())

    found = boxes(written(course))

    assert [row[0] for row in found][-3:] == ["局领导意见", "局办公室意见", "局宣传中心意见"]
    assert all("同意" in row[1] for row in found[-3:])


def test_supplement_has_what_the_form_lacks(quick_ledger):
    course = Course(quick_ledger)
    course.publish(course.run())

    content = written(course)
    more = supplement(content)

    row = course.row()
    assert more["编号"] == row.number and more["现行文本摘要值"] == row.digest
    assert [line[:2] for line in more["校对记录"].splitlines()] == ["一校", "二校", "三校"]
    assert len(more["审核过程（责任链）"].splitlines()) == len(course.item(lambda i: i.decisions))
    assert "已发布" in more["发布结果"]
    assert Document(BytesIO(content)).inline_shapes, "the code that leads to /verify"


def test_what_people_typed_is_text_and_no_command(quick_ledger):
    course = Course(quick_ledger)
    with quick_ledger.reading() as session:
        item = Item.seen(session, course.id)
        form = form_of(session, item) | {"title": HOSTILE, "unit": "<b>&"}

    found = boxes(filled(form, [("名", HOSTILE)]))

    assert found[1][1].startswith("{{ 7 * 7 }} {% for x in y %} <w:t>&amp;</w:t> ]]> ")
    assert "\x0b" not in found[1][1] and found[2][1] == "<b>&"


def test_bureaus_own_template_is_filled_in_place_of_ours(quick_ledger):
    course = Course(quick_ledger)
    own = Document(BytesIO(word_forms.template("annex1")))
    own.add_paragraph("本局自定：{{ title }}")
    out = BytesIO()
    own.save(out)

    content = written(course, out.getvalue())

    assert f"本局自定：{course.row().title}" in [
        p.text for p in Document(BytesIO(content)).paragraphs
    ]


@pytest.mark.parametrize("own", [b"no Word file", "{% for x %}"])
def test_wrong_template_of_the_bureau_is_named(quick_ledger, own):
    course = Course(quick_ledger)
    if isinstance(own, str):
        document = Document()
        document.add_paragraph(own)
        out = BytesIO()
        document.save(out)
        own = out.getvalue()

    with pytest.raises(TemplateError, match=r"\w+: "):
        written(course, own)


@pytest.mark.parametrize("form", word_forms.FORMS)
def test_template_that_is_handed_out_can_be_filled(form):
    assert DocxTemplate(BytesIO(word_forms.template(form))).get_undeclared_template_variables() >= {
        "title", "unit", "author", "reviewer", "source", "more", "qr", "verify",
    }  # fmt: skip
