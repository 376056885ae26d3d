"""Notices reach mailboxes, each once, and are tried again while a mailbox is away."""

import email
import email.policy
from collections.abc import AsyncIterator

from activities.mailbox import FolderMailbox, Outcome
from activities.notify import Notifier
from tests.acting import Course
from tests.examples import MONDAY

EVENT = "2026-11-23T08:30:00+08:00"


class Broken:
    batch, needs_address = 100, False

    async def send(self, letters: list[object]) -> AsyncIterator[list[Outcome]]:
        yield [Outcome("away", "ConnectError")]


def a_notifier(ledger, mailbox, course) -> Notifier:
    return Notifier(
        ledger, mailbox, lambda: course.now, public_url="http://127.0.0.1", sender="s@localhost"
    )


def mails(folder) -> list[email.message.EmailMessage]:
    return [
        email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        for path in sorted(folder.glob("*.eml"))
    ]


def words_of(mail: email.message.EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def test_each_person_asked_gets_one_mail_in_the_items_thread(quick_ledger, tmp_path):
    course = Course(quick_ledger)
    course.turn()
    notifier = a_notifier(quick_ledger, FolderMailbox(tmp_path / "mail"), course)

    delivered = await notifier.deliver()
    again = await notifier.deliver()

    [mail] = mails(tmp_path / "mail")
    assert (delivered, again) == (1, 0)
    assert mail["To"] == "afforest_head@localhost"
    assert "全省秋冬季造林绿化现场推进会召开" in mail["Subject"]
    assert course.id in mail["References"]
    assert f"/items/{course.id}" in words_of(mail)


async def test_emergency_shows_number_and_category_alone(quick_ledger, tmp_path):
    course = Course(quick_ledger, "fire_info", category="emergency", event_time=EVENT)
    course.turn()

    await a_notifier(quick_ledger, FolderMailbox(tmp_path / "mail"), course).deliver()

    for mail in mails(tmp_path / "mail"):
        assert "推进会" not in mail["Subject"] + words_of(mail)
        assert course.answer["number"] in mail["Subject"]


async def test_notice_waits_for_a_mailbox_that_is_away(quick_ledger, tmp_path):
    course = Course(quick_ledger)
    course.turn()

    failed = await a_notifier(quick_ledger, Broken(), course).deliver()
    course.now = MONDAY.replace(hour=10)
    delivered = await a_notifier(quick_ledger, FolderMailbox(tmp_path / "mail"), course).deliver()

    assert (failed, delivered) == (0, 1)
