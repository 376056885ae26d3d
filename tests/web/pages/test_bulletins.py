"""An issued bulletin goes to the public by the way of any item, and by no other (R5.2-4)."""

from datetime import timedelta

import pytest

from review.acts import bulletins
from review.records.bulletins import Bulletin
from tests.examples import who
from tests.web.pages.conftest import words_of

QUARTER = "2026-Q4"
AT = f"/bulletins/{QUARTER}"


@pytest.fixture
def issued(course):
    """The quarter's bulletin, signed and issued, weeks after the course's item."""
    course.run()
    course.now += timedelta(days=60)

    def act(deed: str, person: str):
        def do(session):
            read = session.get_one(Bulletin, QUARTER).digest
            bulletins.act(session, who(session, person), QUARTER, deed, read, course.now)

        course.ledger.write(do)

    course.ledger.write(bulletins.prepare, QUARTER, course.now)
    act("sign", "chief")
    act("issue", "leader_pub")
    return course


async def test_officer_submits_it_and_its_reviews_begin(browser, issued):
    officer = browser("center_info")
    page = await officer.see(AT)

    bare = await officer.send(f"{AT}/submission", key="k" * 26, channels="site")
    sent = await officer.send(
        f"{AT}/submission", key="k" * 26, channels="site", secrecy_pledge="yes", proofread="yes"
    )
    again = await officer.send(
        f"{AT}/submission", key="k" * 26, channels="site", secrecy_pledge="yes", proofread="yes"
    )

    assert "经三审三校后才发布" in words_of(page)
    assert bare.status_code == 422 and 'value="site" checked' in bare.text
    assert sent.status_code == again.status_code == 303
    assert sent.headers["location"] == again.headers["location"]
    shown = words_of(await officer.see(sent.headers["location"]))
    assert "2026年第四季度" in shown.replace(" ", "") or "2026年第4季度" in shown
    assert "自审" in shown
    after = await officer.see(AT)
    assert "已作为稿件送审" in after and "submit-title" not in after


async def test_only_officers_are_offered_it_and_only_once_it_is_issued(browser, issued):
    assert "submit-title" not in await browser("chief").see(AT)
    refused = await browser("chief").send(
        f"{AT}/submission", key="k" * 26, channels="site", secrecy_pledge="yes", proofread="yes"
    )
    assert refused.status_code == 403
