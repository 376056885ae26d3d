"""What somebody handled or was told of: page by page the same as by looking at everything."""

import pytest

from review.acts.reading import submissions
from tests.acting import Course
from tests.examples import who


def pages(course: Course, person: str, filters: dict, limit: int) -> list[str]:
    """Return the ids of all pages."""
    found, after = [], None
    while True:
        with course.ledger.reading() as session:
            me = who(session, person, course.now)
            page = submissions(session, me, filters, limit, after, course.now)
        found += [one["id"] for one in page["items"]]
        if page["next"] is None:
            return found
        assert page["next"] == found[-1]
        after = page["next"]


@pytest.fixture
def busy(ledger):
    """Items in several states; some decided, some only told of, some decided for somebody else."""
    first = Course(ledger)
    for number in range(7):
        course = Course(ledger, now=first.now, title=f"第{number}期造林绿化工作动态")
        course.run([None, "edit_proof2", "second_review", "final_review"][number % 4])
        if number % 3 == 0:
            course.wait(hours=40)
    return first


def test_pages_hold_what_a_look_at_everything_finds(busy):
    people = ("afforest_head", "editor_a", "deputy_b", "chief", "supervisor_a", "afforest_info")
    for which in ("handled", "told"):
        for person in people:
            # A second filter takes the way over all submissions.
            everything = pages(busy, person, {which: True, "category": "work_news"}, 50)
            for limit in (1, 2, 3, 50):
                assert pages(busy, person, {which: True}, limit) == everything
    assert pages(busy, "editor_a", {"handled": True}, 50)
    assert pages(busy, "supervisor_a", {"told": True}, 50)
