"""What the audience of `sanshen demo` sees: a live board, or plain lines where there is no screen;
and the table in the end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from review.texts import text
from starter.demo.outcome import Outcome
from starter.demo.stories import Story

REFRESH = 4  # a second


class Board:
    """What happens, as it happens."""

    def __init__(self, told: Sequence[Story], console: Console, language: str) -> None:
        self._console = console
        self._language = language
        self._began = time.monotonic()
        self._titles = {story.item: str(story.draft.get("title", "")) for story in told}
        self._last = dict.fromkeys(self._titles, "")
        self._numbers = dict.fromkeys(self._titles, 0)
        self._live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=REFRESH,
                 transient=True)
            if console.is_terminal
            else None
        )  # fmt: skip

    def __enter__(self) -> "Board":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._live:
            self._live.stop()

    def happened(self, item: str, event: str, **params: str) -> None:
        """Show one thing that somebody did."""
        words = {name: self._word(name, value) for name, value in params.items()}
        line = text(f"demo.{event}", self._language, **words)
        self._last[item] = line
        self._numbers[item] += 1
        if not self._live:
            seconds = time.monotonic() - self._began
            self._console.print(Text(f"{seconds:6.1f} s  {item}  {line}"))

    def _word(self, name: str, value: str) -> str:
        if name == "act":
            return text(f"demo.act.{value}", self._language)
        return text(f"{name}.{value}", self._language) if name in ("step", "verdict") else value

    def _table(self) -> Table:
        seconds = time.monotonic() - self._began
        board = Table(
            title=text("demo.board", self._language, seconds=round(seconds)),
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        for name, width in (("item", 4), ("title", 12), ("moves", 12), ("last", 24)):
            heading = text(f"demo.column.{name}", self._language)
            board.add_column(heading, no_wrap=True, min_width=width)
        for item, title in self._titles.items():
            board.add_row(item, Text(title[:20]), "■" * self._numbers[item], Text(self._last[item]))
        return board


def result_table(outcomes: Sequence[Outcome], language: str) -> Table:
    """Return the table of the end."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_lines=False)
    for name in ("item", "title", "course", "decided", "screening", "reminders", "escalations",
                 "result", "link"):  # fmt: skip
        right = name in ("reminders", "escalations")
        table.add_column(
            text(f"demo.column.{name}", language),
            justify="right" if right else "left",
            overflow="fold",
        )
    for one in outcomes:
        status = text(f"status.{one.status}", language) if one.status else "-"
        table.add_row(
            one.item,
            Text(one.title),
            Text(course_line(one, language)),
            Text(people_line(one, language)),
            Text(screening_line(one, language)),
            str(one.reminders),
            str(one.escalations),
            Text(f"✗ {status}" if one.differs else status),
            _link(one.link),
        )
    return table


def _link(url: str | None) -> Text:
    """Return the path, which fits, as a link to the whole address; the host stands above."""
    return Text(urlsplit(url).path, style=f"link {url}") if url else Text("-")


def course_line(one: Outcome, language: str) -> str:
    """Return the course in words: steps in order, a verdict only where it is no plain approval."""
    words = []
    for kind, more in one.course:
        step = text(f"step.{kind}", language)
        if step == f"step.{kind}":
            words.append(text(f"demo.course.{kind}", language, step=text(f"step.{more}", language),
                              category=text(f"category.{more}", language)))  # fmt: skip
        elif more == "approve":
            words.append(step)
        else:
            verdict = text(f"verdict.{more}", language)
            words.append(text("demo.course.verdict", language, step=step, verdict=verdict))
    return " → ".join(words)


def people_line(one: Outcome, language: str) -> str:
    """Return who decided, each once, in order, with whom they stood in for."""
    names = [
        text("demo.acting", language, person=d.person, absent=d.acting_for)
        if d.acting_for
        else d.person
        for d in one.decided
    ]
    return text("demo.comma", language).join(dict.fromkeys(names))


def screening_line(one: Outcome, language: str) -> str:
    """Return what screening did: how much it stopped, blocked, let be waived, warned of."""
    numbers = {
        "stopped": len(one.stopped),
        "blocked": len(one.blocked),
        "waived": len(one.waived),
        "warned": len(one.warned),
    }
    return text("demo.comma", language).join(
        text(f"demo.screening.{name}", language, number=number)
        for name, number in numbers.items()
        if number
    )


def counts_of(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """Return what was published, returned, stopped, reminded and escalated."""
    return {
        "items": len(outcomes),
        "published": sum(one.status == "published" for one in outcomes),
        "returned": sum(one.returns for one in outcomes),
        "stopped": sum(one.status in ("withdrawn", "rejected") for one in outcomes),
        "reminded": sum(one.reminders for one in outcomes),
        "escalated": sum(one.escalations for one in outcomes),
        "kept_out": sum(len(one.stopped) for one in outcomes),
        "blocked": sum(len(one.blocked) for one in outcomes),
        "waived": sum(len(one.waived) for one in outcomes),
        "warned": sum(len(one.warned) for one in outcomes),
        "astray": sum(bool(one.differs) for one in outcomes),
    }
