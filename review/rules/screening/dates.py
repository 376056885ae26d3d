"""Dates that cannot be: no such day, the wrong weekday, told before they came; old events."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache

from review.rules.screening.findings import Finding, found, missing
from review.rules.screening.folding import Folded
from review.rules.screening.texts import Text

STALE_AFTER = timedelta(days=3)  # T-12
WEEKDAYS = "一二三四五六日"
_DATE = re.compile(
    r"(?P<month>\d{1,2})\s?月\s?(?P<day>\d{1,2})\s?[日号]"
    r"(?:\s?[(\[]?\s?(?:星期|周|礼拜)(?P<weekday>[一二三四五六日天]))?"
)
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)\s?年\s?\Z")
_DONE = re.compile(r"召开|举行|发生|圆满|闭幕|落幕|结束|强调|指出|已[经于]?|完成了|查获|扑灭")
_COMING = re.compile(
    r"将|拟|定于|预计|计划|届时|前|起|至|到|截止|截至|期限|有效|生效|施行|实施|报名|安排|之日|以后|拟于"
)


def dates(field: str, text: Folded, today: date) -> Iterator[Finding]:
    """Yield dates in a text that are impossible or contradict their weekday or the calendar."""
    plain = text.plain
    if "月" not in plain:
        return
    for one in _DATE.finditer(plain):
        before = plain[max(0, one.start() - 8) : one.start()]
        if before[-1:] == "." or before[-1:].isdecimal():
            continue
        named = _YEAR.search(before)
        year = int(named[1]) if named else None
        month, number = int(one["month"]), int(one["day"])
        if not _exists(year, month, number):
            yield found("STALE", "warn", field, text, one.span(), case="impossible")
            continue
        weekday = WEEKDAYS.index((one["weekday"] or "一").replace("天", "日"))
        if one["weekday"] and not _falls_on(year, month, number, weekday, today):
            right = _likely(year, month, number, today)
            yield found(
                "STALE", "warn", field, text, one.span(), case="weekday",
                suggest=f"星期{WEEKDAYS[right.weekday()]}" if right else "",
            )  # fmt: skip
        elif _told_too_soon(plain, one.span(), year, month, number, today):
            yield found("STALE", "warn", field, text, one.span(), case="future")


def moments(text: Text, today: datetime) -> Iterator[Finding]:
    """Yield what the moments beside a text say: old or coming events, an end already past."""
    for field, at in (("event_time", text.event_time), ("found_time", text.found_time)):
        if at is not None and at > today:
            yield missing("STALE", "warn", field, case="future")
    if text.event_time is not None and today - text.event_time > STALE_AFTER:
        yield missing("STALE", "info", "event_time")
    if text.valid_until is not None and text.valid_until < today:
        yield missing("STALE", "warn", "valid_until", case="ended")


def _exists(year: int | None, month: int, number: int) -> bool:
    return _day(year or 2024, month, number) is not None  # without a year, a leap day may be


def _day(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None


@lru_cache(maxsize=2_000)
def _likely(year: int | None, month: int, number: int, today: date) -> date | None:
    """Return the day that is meant: without a year the one nearest to today."""
    if year:
        return _day(year, month, number)
    days = [_day(today.year + more, month, number) for more in (0, -1, 1) if _fits(today, more)]
    return min((day for day in days if day), key=lambda day: abs(day - today), default=None)


def _fits(today: date, more: int) -> bool:
    return 1 <= today.year + more <= 9999


def _falls_on(year: int | None, month: int, number: int, weekday: int, today: date) -> bool:
    day = _likely(year, month, number, today)
    return day is None or day.weekday() == weekday


def _told_too_soon(
    plain: str, span: tuple[int, int], year: int | None, month: int, number: int, today: date
) -> bool:
    """Tell whether a coming day is written of as past: done words, none of plans, no range."""
    day = _likely(year, month, number, today)
    if day is None or not timedelta(0) < day - today < timedelta(days=400):
        return False
    start = max(plain.rfind(mark, 0, span[0]) for mark in "。;!?\n") + 1
    ends = [at for mark in "。;!?\n" if (at := plain.find(mark, span[1])) >= 0]
    sentence = plain[start : min(ends, default=len(plain))]
    return bool(_DONE.search(sentence)) and not _COMING.search(sentence)
