"""Letters: what a notice says, as text and as a page, in one thread an item (R4.2-2, A-14).

Nothing is decided in a letter; its links lead to where one decides. The link that needs no signing
in stands in a person's own letter alone, never in a message to a chat.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from review.acts.pace import remaining
from review.records.tables import Notice, PersonRow, Step, Submission
from review.rules.calendar import Calendar
from review.rules.values import Category, StepState
from review.texts import text

ZONE = ZoneInfo("Asia/Shanghai")
# Other people's words are no orders to a chat: 飞书 and others call a whole group by them.
_MARKS = str.maketrans("<>@[]*`", "＜＞＠［］＊｀")
GRAVE = (Category.EMERGENCY, Category.PUBLIC_OPINION)  # their titles stay in the house


@dataclass(frozen=True)
class Told:
    """One notice with what its letter says of its subject.

    Attributes:
        submission: The item it is about; None for what is no item.
        step: The step it is about, where it is about one.
        of: The name of whom the person acts for.
        decide: The path of the link that decides, for the person's own letter alone.
    """

    notice: Notice
    person: PersonRow
    submission: Submission | None = None
    step: Step | None = None
    unit_name: str = ""
    of: str = ""
    decide: str = field(default="", repr=False)


class Letters:
    """Writes letters in one language, with links to one place."""

    def __init__(self, public_url: str, sender: str, language: str = "zh") -> None:
        self._public_url = public_url
        self._sender = sender
        self._language = language

    def one(self, told: Told, calendar: Calendar | None, now: datetime) -> Message:
        """Return the letter of a notice; C and D show number and category alone."""
        shown = self._shown(told, calendar, now)
        kind, person = told.notice.kind, told.person
        subject = self._text(f"notice.{kind}.subject", shown)
        lines = [self._text(f"notice.{kind}.body", shown), *self._facts(told, shown)]
        links = [(self._text("letter.open", {}), str(shown["url"])), *self._decide(told)]
        if told.decide:
            lines.append(self._text("letter.decide_note", {}))
        return self._letter(
            told.notice.id, person, subject, lines, links,
            thread=told.submission.id if told.submission else "",
        )  # fmt: skip

    def digest(self, all_told: Sequence[Told], calendar: Calendar | None, now: datetime) -> Message:
        """Return one letter for what piled up for one person."""
        person = all_told[0].person
        subject = self._text("letter.digest_subject", {"count": len(all_told)})
        links = []
        for told in all_told:
            shown = self._shown(told, calendar, now)
            line = self._text(f"notice.{told.notice.kind}.subject", shown)
            if shown["left"]:
                line = f"{line} · {shown['left']}"
            links += [(line, str(shown["url"])), *self._decide(told)]
        name = f"digest-{all_told[0].notice.id}"
        lines = [self._text("letter.digest", {"count": len(all_told)})]
        if any(told.decide for told in all_told):
            lines.append(self._text("letter.decide_note", {}))
        return self._letter(name, person, subject, lines, links)

    def _decide(self, told: Told) -> list[tuple[str, str]]:
        if not told.decide:
            return []
        return [(self._text("letter.decide", {}), f"{self._public_url}{told.decide}")]

    def message(
        self, all_told: Sequence[Told], calendar: Calendar | None, now: datetime
    ) -> tuple[str, str]:
        """Return title and text for a chat or a phone: of one notice, or of what piled up.

        Several people told of one thing stand by name, for a group's robot tells them at once.
        """
        first = all_told[0]
        if len({(one.notice.submission_id, one.notice.step_id, one.notice.kind)
                for one in all_told}) == 1:  # fmt: skip
            shown = self._shown(first, calendar, now)
            kind = first.notice.kind
            title = self._text(f"notice.{kind}.subject", shown)
            lines = [self._text(f"notice.{kind}.body", shown)]
            if len(all_told) == 1:
                lines += self._facts(first, shown)
            lines.append(self._text("message.to", {"names": _names(all_told)}))
            return _harmless(title), "\n".join([*map(_harmless, lines), str(shown["url"])])
        title = self._text("letter.digest_subject", {"count": len(all_told)})
        lines = [_harmless(self._text("message.to", {"names": _names(all_told)}))]
        for told in all_told:
            shown = self._shown(told, calendar, now)
            line = self._text(f"notice.{told.notice.kind}.subject", shown)
            left = f" · {shown['left']}" if shown["left"] else ""
            lines += [_harmless(f"{line}{left}"), str(shown["url"])]
        return _harmless(title), "\n".join(lines)

    def _shown(self, told: Told, calendar: Calendar | None, now: datetime) -> dict[str, Any]:
        notice, step = told.notice, told.step
        is_matter = "matter" in notice.shown
        left = None
        if step is not None and step.state == StepState.OPEN:
            left = remaining(step.limit, step.opened_at, step.due_at, calendar, now)
        return {
            **(self._matter(notice) if is_matter else self._about(told.submission)),
            "step": text(f"step.{notice.shown.get('step', '')}", self._language),
            "due": _local(notice.shown.get("due_at")),
            "times": notice.shown.get("times", ""),
            "channels": notice.shown.get("channels", ""),
            "name": told.person.name,
            "of": told.of,
            "rules": ", ".join(notice.shown.get("rules", ())),
            "left": _in_words(left, self._language) if left else "",
        }

    def _facts(self, told: Told, shown: dict[str, Any]) -> list[str]:
        """Return unit, remaining time and why it is this person."""
        why, _, _ = told.notice.why.partition(":")
        facts = []
        if told.unit_name:
            facts.append(self._text("letter.unit", {"unit": told.unit_name}))
        if shown["left"]:
            facts.append(self._text("letter.left", {"left": shown["left"]}))
        facts.append(self._text(f"notice.why.{why}", {"of": told.of}))
        return facts

    def _letter(
        self, name: str, person: PersonRow, subject: str, lines: Sequence[str],
        links: Sequence[tuple[str, str]], *, thread: str = "",
    ) -> Message:  # fmt: skip
        """Return a letter in two forms.

        The older classes of the standard library: six times as fast as EmailMessage, which was a
        seventh of all that the worker did.
        """
        greeting = self._text("letter.greeting", {"name": person.name})
        plain = [greeting, "", *lines, "", *(f"{words}\n{url}" for words, url in links)]
        page = [
            f"<p>{escape(greeting)}</p>",
            *(f"<p>{escape(line)}</p>" for line in lines),
            *(f'<p><a href="{escape(url)}">{escape(words)}</a></p>' for words, url in links),
        ]
        message = MIMEMultipart("alternative")
        message["Message-ID"] = f"<{name}@sanshen>"
        if thread:
            message["In-Reply-To"] = message["References"] = f"<item-{thread}@sanshen>"
        message["From"] = _header(self._sender)
        message["To"] = _header(person.email or f"{person.username}@localhost")
        message["Subject"] = _header(subject)
        message["Auto-Submitted"] = "auto-generated"
        message.attach(MIMEText("\n".join(plain) + "\n", "plain", "utf-8"))
        message.attach(MIMEText("\n".join(page) + "\n", "html", "utf-8"))
        return message

    def _text(self, code: str, shown: dict[str, Any]) -> str:
        return text(code, self._language, **shown)

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
        return {
            "number": row.number,
            "title": name if row.category in GRAVE else row.title,
            "category": name,
            "url": f"{self._public_url}/items/{row.id}",
        }


def _names(all_told: Sequence[Told]) -> str:
    return "、".join(dict.fromkeys(told.person.name for told in all_told))


def _harmless(line: str) -> str:
    """Return a line that names nobody to a chat, links nowhere and is no mark-up there."""
    return " ".join(line.translate(_MARKS).split())


def _header(value: str) -> str:
    """Return a header's value; other people's text can't begin a header of its own."""
    line = " ".join(value.split())
    return line if line.isascii() else Header(line, "utf-8").encode()


def _local(moment: Any) -> str:
    if not moment:
        return ""
    return datetime.fromisoformat(str(moment)).astimezone(ZONE).strftime("%Y年%m月%d日 %H:%M")


def _in_words(left: dict[str, Any], language: str) -> str:
    """Return how much time is left, in the time that counts, or how long it is over."""
    seconds = abs(left["seconds"])
    working = left["clock"] == "work"
    days, rest = (0, seconds) if working else divmod(seconds, 86_400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    parts = [("days", days), ("hours", hours), ("minutes", 0 if days else minutes)]
    time = " ".join(text(f"letter.{unit}", language, n=n) for unit, n in parts if n)
    time = time or text("letter.minutes", language, n=0)
    state = "over" if left["seconds"] < 0 else "time"
    return text(f"letter.{state}{'_working' if working else ''}", language, time=time)
