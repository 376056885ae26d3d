"""A stricter pack is tried on past items by those who keep the rules, and changes nothing."""

import pytest
from ruamel.yaml import YAML
from sqlmodel import func, select

from review.packs import builtin_pack
from review.records.engine import counting
from review.records.tables import Audit, Pack
from tests.acting import Course
from tests.web.pages.conftest import words_of


@pytest.fixture
def stricter(tmp_path) -> str:
    """The shipped pack, but for a unit that has half an hour for its review of work news."""
    yaml = YAML()
    pack = yaml.load(builtin_pack("hebei-lcj-2022-35"))
    for step in pack["steps"]["work_news"]:
        if step["id"] == "unit_review":
            step["limit"] = "0.5wh"
    file = tmp_path / "stricter.yaml"
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(pack, out)
    return file.read_text(encoding="utf-8")


@pytest.fixture
def course(quick_ledger):
    """An item whose unit took fifty minutes."""
    found = Course(quick_ledger)
    found.turn()
    found.wait(minutes=50)
    found.run()
    return found


def kept(course) -> tuple[int, int]:
    with course.ledger.reading() as session:
        return (
            session.exec(select(func.count()).select_from(Pack)).one(),
            session.exec(select(func.count()).select_from(Audit)).one(),
        )


async def test_stricter_pack_is_tried_by_page(browser, course, stricter):
    chief = browser("chief")
    before = kept(course)

    form = await chief.see("/rules/rehearsal")
    with counting(course.ledger) as statements:
        shown = await chief.send("/rules/rehearsal", pack=stricter, days="30")

    words = words_of(shown.text)
    assert shown.status_code == 200 and 'value="92"' in form
    assert "共 1 件，其中 1 件有不同，0 件会走别的流程" in words
    assert course.row().number in words and "! 超时 自审" in words
    assert kept(course) == before
    changing = ("INSERT", "DELETE", "UPDATE submission", "UPDATE pack")
    assert not [one for one in statements if one.startswith(changing)]


async def test_proposal_that_waits_is_tried_before_it_is_confirmed(browser, course, stricter):
    chief = browser("chief")
    await chief.send("/rules/changes", pack=stricter)
    page = await browser("security").see("/rules/changes")
    [link] = {part.split('"')[0] for part in page.split('href="')[1:] if "rehearsal?p" in part}
    proposal = link.partition("=")[2]

    form = await browser("security").see(link)
    shown = await browser("security").send("/rules/rehearsal", proposal=proposal, days="30")
    gone = await browser("security").send("/rules/rehearsal", proposal="none", days="30")

    assert f'<option value="{proposal}" selected>' in form
    assert "其中 1 件有不同" in words_of(shown.text)
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("fields", "word"),
    [({"pack": "id: 1", "days": "30"}, "错误"), ({"pack": "x", "days": "0"}, "")],
)
async def test_mistakes_are_told_and_nothing_typed_is_lost(browser, course, fields, word):
    answer = await browser("chief").send("/rules/rehearsal", **fields)

    assert answer.status_code == 422
    assert f">{fields['pack']}</textarea>" in answer.text and 'class="refusal"' in answer.text


async def test_nobody_else_finds_it(browser, course):
    for person in ("editor_a", "supervisor_a", "afforest_head"):
        assert (await browser(person).client.get("/rules/rehearsal")).status_code == 403
        assert "/rules/rehearsal" not in await browser(person).see("/rules")
