"""What a wrong clock wrote is tried again once a clock is right, and never given up untried."""

from datetime import timedelta

import pytest
from sqlmodel import col, select

from activities.mailbox import FolderMailbox
from activities.notify import LONGEST, Notifier
from review.acts import announcing
from review.records.hook_tables import HookPost
from review.records.retries import GIVEN_UP, TRIES, is_given_up
from review.records.tables import Notice, Outbox
from tests.acting import Course
from tests.activities.test_notify import Broken
from tests.acts.test_announcing import URL, an_endpoint
from tests.examples import MONDAY
from workers import relay

YEAR = timedelta(days=400)


def a_notifier(course: Course, mailbox: object, ahead: timedelta = timedelta()) -> Notifier:
    return Notifier(
        course.ledger, mailbox, lambda: course.now + ahead,  # type: ignore[arg-type]
        public_url=URL, sender="s@localhost",
    )  # fmt: skip


@pytest.mark.parametrize("ahead", [YEAR, -YEAR], ids=["ahead", "behind"])
async def test_letter_that_a_wrong_clock_failed_to_send_goes_out(ledger, tmp_path, ahead):
    course = Course(ledger)
    course.turn()
    for _ in range(TRIES - 1):
        assert await a_notifier(course, Broken(), ahead).deliver() == 0

    course.now += timedelta(minutes=1)
    right = a_notifier(course, FolderMailbox(tmp_path / "mail"))

    assert (await right.deliver(), await right.deliver()) == (1, 0)
    with ledger.reading() as session:
        assert {one.error for one in session.exec(select(Notice))} == {""}


async def test_letter_that_a_wrong_clock_claimed_and_a_dead_worker_kept_goes_out(ledger, tmp_path):
    course = Course(ledger)
    course.turn()

    class Killed(Exception):
        pass

    class Deadly(Broken):
        async def send(self, letters):
            raise Killed
            yield

    with pytest.raises(Killed):
        await a_notifier(course, Deadly(), YEAR).deliver()

    assert await a_notifier(course, FolderMailbox(tmp_path / "mail")).deliver() == 1


async def test_item_of_a_web_whose_clock_was_wrong_is_told(ledger, tmp_path):
    course = Course(ledger, now=MONDAY + YEAR)
    course.turn()
    course.now = MONDAY

    assert await a_notifier(course, FolderMailbox(tmp_path / "mail")).deliver() == 1


def test_nudge_that_a_wrong_clock_put_off_is_owed(ledger):
    course = Course(ledger)
    ledger.write(relay._tried, [course.id], course.now + YEAR)

    with ledger.reading() as session:
        later = [row.next_try_at for row in session.exec(select(Outbox))]
        owed = [one[0] for one in relay._owed(session, course.now)]

    assert min(later) > course.now + YEAR
    assert owed == [course.id]


def test_message_to_a_system_that_a_wrong_clock_put_off_is_due_and_those_behind_it_wait(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    ledger.write(announcing.announce, course.now, URL)
    course.decide("afforest_head", "unit_review")
    course.turn()
    ledger.write(announcing.announce, course.now, URL)
    [first] = ledger.write(announcing.take_due, endpoint, course.now + YEAR)

    [again] = ledger.write(announcing.take_due, endpoint, course.now)

    assert again.id == first.id
    with ledger.reading() as session:
        behind = session.exec(select(HookPost).where(col(HookPost.id) != first.id)).all()
    assert behind and {one.next_try_at for one in behind} == {announcing.WAITS}


def test_only_what_is_old_and_was_tried_is_given_up():
    old, young = MONDAY - GIVEN_UP - timedelta(seconds=1), MONDAY - GIVEN_UP

    assert is_given_up(old, TRIES, MONDAY)
    assert not is_given_up(old, TRIES - 1, MONDAY)
    assert not is_given_up(young, 1000, MONDAY)
    assert LONGEST > GIVEN_UP
