"""How moments, lengths of time and people look on a page."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from starter.web.dependencies import BUREAU_ZONE
from starter.web.pages.words import N_, say

MINUTE, HOUR, DAY = 60, 3_600, 86_400  # seconds
NAMED = 2  # people named before the rest is only counted
SOON = 0.25  # of a step's time; what is left then is shown as urgent


def moment(value: str | datetime | None, language: str = "zh") -> str:
    """Return a moment in the bureau's time: `2026年11月22日 09:30`."""
    if not value:
        return ""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    at = at.astimezone(BUREAU_ZONE)
    if language == "zh":
        return f"{at.year}年{at.month}月{at.day}日 {at:%H:%M}"
    return f"{at:%Y-%m-%d %H:%M}"


def length(seconds: int, language: str = "zh", *, by_day: bool = True) -> str:
    """Return a length in its two largest units; a working length stays in hours."""
    seconds = abs(seconds)
    if by_day and seconds >= DAY:
        parts = [(seconds // DAY, N_("%(n)s 天")), (seconds % DAY // HOUR, N_("%(n)s 小时"))]
    elif seconds >= HOUR:
        parts = [(seconds // HOUR, N_("%(n)s 小时")), (seconds % HOUR // MINUTE, N_("%(n)s 分"))]
    elif seconds >= MINUTE:
        parts = [(seconds // MINUTE, N_("%(n)s 分"))]
    else:
        parts = [(seconds, N_("%(n)s 秒"))]
    return " ".join(say(unit, language, n=n) for n, unit in parts if n or len(parts) == 1)


def left(remaining: Mapping[str, Any], language: str = "zh") -> str:
    """Return how much time is left in words, and which time that is."""
    working = remaining["clock"] == "work"
    time = length(remaining["seconds"], language, by_day=not working)
    late = remaining["seconds"] < 0
    if working:
        message = N_("超时 %(time)s（工作时间）") if late else N_("剩 %(time)s（工作时间）")
    else:
        message = N_("超时 %(time)s") if late else N_("剩 %(time)s")
    return say(message, language, time=time)


def urgency(remaining: Mapping[str, Any]) -> str:
    """Return `late`, `soon` or `calm`."""
    if remaining["seconds"] < 0:
        return "late"
    return "soon" if remaining["seconds"] < remaining["total"] * SOON else "calm"


def people(known: Iterable[Mapping[str, Any]], language: str = "zh") -> str:
    """Return names: two, then how many there are."""
    names = [str(one["name"]) for one in known]
    shown = "、".join(names[:NAMED]) if language == "zh" else ", ".join(names[:NAMED])
    if len(names) > NAMED:
        return say("%(names)s等 %(n)s 人", language, names=shown, n=len(names))
    return shown or say("待定", language)


def first_up(words: str) -> str:
    """Return a word as it begins a line; Chinese has no capitals and stays as it is."""
    return words[:1].upper() + words[1:]
