"""How carefully a period was reviewed: trends without names, and items to read once more.

For supervisors alone: a trend asks how the work is organised, it accuses nobody.
"""

from collections import Counter
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import select as columns
from sqlmodel import Session, col, func, select

from review.acts.overseeing import today
from review.acts.showing import ZONE, shown_moment
from review.records.people import Person
from review.records.tables import Decision, Step, Submission, Unit, Version, table_of
from review.rules.errors import NotAllowedError
from review.rules.statistics import month_of
from review.rules.values import Role, Verdict

Json = dict[str, Any]
READERS = {Role.SUPERVISOR}
CHARACTERS_A_SECOND = 10  # title and text; faster than anybody reads to check
A_QUARTER = timedelta(days=92)
TIERS = (1, 2, 3)
SAMPLE, LARGEST_SAMPLE = 10, 200


def quality(
    session: Session,
    person: Person,
    from_: datetime | None,
    to: datetime | None,
    size: int,
    seed: str,
    now: datetime,
) -> Json:
    """Return how a period was reviewed.

    An approval is quick when the person had been asked for less time than the title and the text
    take to be read at ten characters a second. Whoever had longer need not have read it.

    Args:
        from_, to: The first moment and the first one no longer; the last 92 days unless given.
        size: How many published items are drawn to be read once more.
        seed: What they are drawn by: the same seed, period and ledger draw the same.

    Returns:
        `{from, to, characters_a_second, months, sample: {seed, of, items}}`: of each month that
        had an approval `{month, tiers: [{tier, approvals, quick}]}`; of each item drawn its id,
        number, title, unit and when it was published.

    Raises:
        NotAllowedError: For everybody but supervisors.
    """
    if not {held.role for held in person.roles} & READERS:
        raise NotAllowedError
    to = to or today(now)[1]
    from_ = from_ or to - A_QUARTER
    return {
        "from": shown_moment(from_),
        "to": shown_moment(to),
        "characters_a_second": CHARACTERS_A_SECOND,
        "months": _months(session, from_, to),
        "sample": _sample(session, from_, to, size, seed),
    }


def _months(session: Session, from_: datetime, to: datetime) -> list[Json]:
    made, step, version = (table_of(one).c for one in (Decision, Step, Version))
    length = func.max(func.length(version.title) + func.length(version.body))
    statement = (
        columns(made.at, step.opened_at, made.tier, length.label("length"))
        .join(table_of(Step), step.id == made.step_id)
        .join(
            table_of(Version),
            (version.submission_id == made.submission_id) & (version.digest == made.digest),
        )
        .where(made.at >= from_, made.at < to)
        .where(made.verdict == Verdict.APPROVE, made.tier.in_(TIERS))
        .group_by(made.id, made.at, step.opened_at, made.tier)
    )
    approvals: Counter[tuple[str, int]] = Counter()
    quick: Counter[tuple[str, int]] = Counter()
    for one in session.connection().execute(statement):
        slot = month_of(one.at, ZONE), one.tier
        approvals[slot] += 1
        took = (one.at - one.opened_at).total_seconds()
        quick[slot] += took * CHARACTERS_A_SECOND < one.length
    return [
        {
            "month": month,
            "tiers": [
                {"tier": tier, "approvals": approvals[month, tier], "quick": quick[month, tier]}
                for tier in TIERS
            ],
        }
        for month in sorted({month for month, _ in approvals})
    ]


def _sample(session: Session, from_: datetime, to: datetime, size: int, seed: str) -> Json:
    published = session.exec(
        select(Submission.id)
        .where(col(Submission.published_at) >= from_)
        .where(col(Submission.published_at) < to)
    ).all()
    drawn = sorted(published, key=lambda id_: sha256(f"{seed}\n{id_}".encode()).digest())[:size]
    rows = session.exec(
        select(Submission, Unit.name)
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(col(Submission.id).in_(drawn))
    ).all()
    known = {row.id: (row, unit) for row, unit in rows}
    return {
        "seed": seed,
        "of": len(published),
        "items": [
            {
                "id": row.id,
                "number": row.number,
                "title": row.title,
                "unit": unit,
                "published_at": shown_moment(row.published_at),
            }
            for row, unit in (known[id_] for id_ in drawn)
        ],
    }
