"""When what is owed is tried again, and when it is given up; a wrong clock settles neither.

A machine whose clock ran a year ahead, or behind, writes such moments beside what it tries. The
next one, whose clock is right, would wait for that year, or give up what was never tried.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, or_

GIVEN_UP = timedelta(days=7)
TRIES = 5  # at least, before something old is given up


def due(
    next_try_at: Any, now: datetime, longest: timedelta, before: datetime | None = None
) -> ColumnElement[bool]:
    """Return the condition of what may be tried now.

    Args:
        next_try_at: The column.
        longest: More than any wait can be: a moment farther ahead was written by a wrong clock.
        before: A moment that stands for "not yet" and is no clock's.
    """
    impossible = next_try_at > now + longest
    if before is not None:
        impossible &= next_try_at < before
    return or_(next_try_at <= now, impossible)


def is_given_up(at: datetime, attempts: int, now: datetime) -> bool:
    """Tell whether something is too old to be tried again, and was tried."""
    return attempts >= TRIES and at < now - GIVEN_UP
