"""Deliver notices: from rows of the ledger to people's mailboxes, never in a review's way."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from email.header import Header
from email.message import Message
from email.mime.text import MIMEText
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlmodel import Session, col, select

from activities.mailbox import Mailbox
from review.records.engine import Ledger
from review.records.tables import Notice, PersonRow, Submission
from review.rules.values import Category
from review.texts import text

log = structlog.get_logger()

BATCH = 100
FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=10)
ZONE = ZoneInfo("Asia/Shanghai")


class Notifier:
    """Delivers what is due, remembers what was, tries again what failed."""

    def __init__(
        self,
        ledger: Ledger,
        mailbox: Mailbox,
        clock: Callable[[], datetime],
        *,
        public_url: str,
        sender: str,
        language: str = "zh",
    ) -> None:
        self._ledger = ledger
        self._mailbox = mailbox
        self._clock = clock
        self._public_url = public_url
        self._sender = sender
        self._language = language

    async def deliver(self) -> int:
        """Deliver a batch of notices; returns how many reached a mailbox."""
        waiting = await self._ledger.read(_waiting, self._clock())
        if not waiting:
            return 0
        sent, failed = await asyncio.to_thread(self._send, waiting)
        await self._ledger.run(_record, sent, failed, self._clock())
        if failed:
            log.warning("notices_failed", count=len(failed))
        return len(sent)

    def _send(
        self, waiting: list[tuple[Notice, PersonRow, Submission | None]]
    ) -> tuple[list[str], dict[str, str]]:
        """Send letters, off the event loop; returns which were taken, and why others weren't."""
        sent: list[str] = []
        failed: dict[str, str] = {}
        for notice, person, row in waiting:
            try:
                self._mailbox.send(self.letter(notice, person, row))
            except OSError as error:
                failed[notice.id] = type(error).__name__
            else:
                sent.append(notice.id)
        return sent, failed

    def letter(self, notice: Notice, person: PersonRow, row: Submission | None) -> Message:
        """Return the mail of a notice; C and D show number and category alone.

        The older classes of the standard library: six times as fast as EmailMessage, which was a
        seventh of all that the worker did.
        """
        shown = {
            **(self._matter(notice) if "matter" in notice.shown else self._about(row)),
            "step": text(f"step.{notice.shown.get('step', '')}", self._language),
            "due": _local(notice.shown.get("due_at")),
            "times": notice.shown.get("times", ""),
            "name": person.name,
            "rules": ", ".join(notice.shown.get("rules", ())),
        }
        why, _, of = notice.why.partition(":")
        subject = text(f"notice.{notice.kind}.subject", self._language, **shown)
        body = text(f"notice.{notice.kind}.body", self._language, **shown)
        reason = text(f"notice.why.{why}", self._language, of=of)
        content = f"{person.name}：\n\n{body}\n{reason}\n\n{shown['url']}\n"
        message = MIMEText(content, "plain", "utf-8")
        message["Message-ID"] = f"<{notice.id}@sanshen>"
        if row is not None:
            message["In-Reply-To"] = message["References"] = f"<item-{row.id}@sanshen>"
        message["From"] = _header(self._sender)
        message["To"] = _header(person.email or f"{person.username}@localhost")
        message["Subject"] = _header(subject)
        return message

    def _matter(self, notice: Notice) -> dict[str, str]:
        """Return what may be said of an order, an incident or a case: its number, no subject."""
        return {
            "number": str(notice.shown.get("number", "")),
            "title": "",
            "category": "",
            "url": f"{self._public_url}/{notice.shown['matter']}",
        }

    def _about(self, row: Submission | None) -> dict[str, str]:
        """Return what may be said of an item; C and D show number and category alone."""
        if row is None:
            return {"number": "", "title": "", "category": "", "url": self._public_url}
        name = text(f"category.{row.category}", self._language)
        grave = row.category in (Category.EMERGENCY, Category.PUBLIC_OPINION)
        return {
            "number": row.number,
            "title": name if grave else row.title,
            "category": name,
            "url": f"{self._public_url}/items/{row.id}",
        }


def _header(value: str) -> str:
    """Return a header's value; other people's text can't begin a header of its own."""
    line = " ".join(value.split())
    return line if line.isascii() else Header(line, "utf-8").encode()


def _local(moment: Any) -> str:
    if not moment:
        return ""
    return datetime.fromisoformat(str(moment)).astimezone(ZONE).strftime("%Y年%m月%d日 %H:%M")


def _waiting(session: Session, now: datetime) -> list[tuple[Notice, PersonRow, Submission | None]]:
    rows = session.exec(
        select(Notice, PersonRow, Submission)
        .join(PersonRow, col(PersonRow.id) == col(Notice.person_id))
        .join(Submission, col(Submission.id) == col(Notice.submission_id), isouter=True)
        .where(col(Notice.mailed_at).is_(None))
        .where(Notice.next_try_at <= now)
        .order_by(col(Notice.next_try_at))
        .limit(BATCH)
    ).all()
    return [(notice, person, row) for notice, person, row in rows]


def _record(session: Session, sent: list[str], failed: dict[str, str], now: datetime) -> None:
    for notice in session.exec(select(Notice).where(col(Notice.id).in_([*sent, *failed]))):
        notice.attempts += 1
        if notice.id in failed:
            notice.error = failed[notice.id]
            wait = min(FIRST_RETRY * 2 ** min(notice.attempts - 1, 10), LAST_RETRY)
            notice.next_try_at = now + wait
        else:
            notice.mailed_at, notice.error = now, ""
        session.add(notice)
