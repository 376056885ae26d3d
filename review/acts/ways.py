"""A person's own choice of ways for their notices; the inbox has everything and is no choice."""

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from review.ids import new_id
from review.notice_ways import NamedWay, own_address, scheme_of, wrong_with_own
from review.records.kept import NONCE, Box, known, note
from review.records.people import Person
from review.records.tables import Notice, PersonRow
from review.records.ways import (
    NAMED,
    OWN,
    NoticeChoice,
    NoticeSend,
    NoticeWay,
    choices_of,
    last_tries,
    ways_of,
)
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.notices import MAIL, USUAL, Sort
from review.rules.values import Role

Json = dict[str, Any]
MOST_OWN = 5
TENDERS = {Role.SECURITY_ADMIN, Role.SYSADMIN, Role.AUDITOR}


def ways_shown(
    session: Session, person: Person, now: datetime, named: Mapping[str, NamedWay]
) -> Json:
    """Return the ways that a person may choose and what they chose; no address is ever shown."""
    row = session.get_one(PersonRow, person.id)
    own = ways_of(session, {person.id}).get(person.id, [])
    theirs = [one for one in named.values() if one.is_for(row.username)]
    keys = {f"{NAMED}{one.id}" for one in theirs} | {f"{OWN}{one.id}" for one in own}
    tries = last_tries(session, keys)
    chosen = choices_of(session, {person.id})

    def state(way: str) -> Json:
        last = tries.get(way)
        return {
            "last_at": last.at if last else None,
            "state": last.state if last else None,
            "detail": last.detail if last else "",
        }

    return {
        "mail": row.email,
        "named": [
            {"way": (way := f"{NAMED}{one.id}"), "name": one.name, **state(way)} for one in theirs
        ],
        "own": [
            {"way": (way := f"{OWN}{one.id}"), "id": one.id, "name": one.name,
             "scheme": one.scheme, "added_at": one.added_at, **state(way)}
            for one in own
        ],
        "choices": {sort: chosen.get((person.id, sort), list(USUAL)) for sort in Sort},
    }  # fmt: skip


def choose(
    session: Session,
    person: Person,
    now: datetime,
    choices: Mapping[Sort, Collection[str]],
    named: Mapping[str, NamedWay],
    *,
    way_in: str,
) -> Json:
    """Set the ways of some sorts; it counts for notices that are written from now on.

    Raises:
        MalformedError: `way_unknown`: not mail, nor one of this person's.
    """
    row = known(session, person.id)  # one change at a time
    mine = {MAIL} | {f"{OWN}{one.id}" for one in ways_of(session, {person.id}).get(person.id, [])}
    mine |= {f"{NAMED}{one.id}" for one in named.values() if one.is_for(row.username)}
    for sort, ways in choices.items():
        if not set(ways) <= mine:
            raise MalformedError(errors=[{"field": sort, "message": "way_unknown"}])
        found = session.get(NoticeChoice, (person.id, sort))
        found = found or NoticeChoice(person_id=person.id, sort=sort, at=now)
        found.ways, found.at = sorted(set(ways)), now
        session.add(found)
    session.flush()
    changed = {sort: sorted(set(ways)) for sort, ways in choices.items()}
    note(session, "notice_ways_chosen", now, person.id, way_in, ways=changed)
    return {"choices": changed}


def add_way(
    session: Session,
    person: Person,
    now: datetime,
    name: str,
    url: str,
    box: Box,
    allowed: Collection[str],
    *,
    way_in: str,
) -> Json:
    """Add a destination of a person's own, and send it a word that it is one.

    Args:
        allowed: The schemes that people may add.

    Raises:
        MalformedError: `way_malformed`, `way_scheme`, `way_inside`: where no message goes.
        RefusedError: `ways_full`.
    """
    known(session, person.id)
    if wrong := wrong_with_own(url, allowed):
        raise MalformedError(errors=[{"field": "url", "message": wrong}])
    held = session.exec(
        select(func.count(col(NoticeWay.id)))
        .where(NoticeWay.person_id == person.id)
        .where(col(NoticeWay.removed_at).is_(None))
    ).one()
    if held >= MOST_OWN:
        raise RefusedError("ways_full", most=MOST_OWN)
    way_id = new_id()
    nonce = secrets.token_bytes(NONCE)
    row = NoticeWay(
        id=way_id, person_id=person.id, name=name, scheme=scheme_of(url),
        sealed=box.seal(own_address(url).encode(), way_id, nonce), added_at=now,
    )  # fmt: skip
    session.add(row)
    note(session, "notice_way_added", now, person.id, way_in, way=way_id, scheme=row.scheme)
    notice = Notice(
        id=new_id(), key=f"way:{way_id}", submission_id=way_id, person_id=person.id,
        kind="way_added", why="own_way", at=now, not_before=now, next_try_at=now, routed_at=now,
        mailed_at=now, error="not_chosen",
    )  # fmt: skip
    session.add(notice)
    session.flush()
    session.add(
        NoticeSend(
            id=new_id(), notice_id=notice.id, person_id=person.id, way=f"{OWN}{way_id}",
            not_before=now, next_try_at=now,
        )
    )  # fmt: skip
    return {"id": way_id, "way": f"{OWN}{way_id}", "name": name, "scheme": row.scheme}


def remove_way(
    session: Session, person: Person, way_id: str, now: datetime, *, way_in: str
) -> Json:
    """Remove a destination of a person's own; its address is forgotten at once.

    Raises:
        NotFoundError: It isn't theirs, or is gone.
    """
    row = session.get(NoticeWay, way_id, with_for_update=True)
    if row is None or row.person_id != person.id or row.removed_at is not None:
        raise NotFoundError
    row.removed_at, row.sealed = now, ""
    session.add(row)
    note(session, "notice_way_removed", now, person.id, way_in, way=way_id, scheme=row.scheme)
    return {"id": way_id}


def named_listed(
    session: Session, by: Person, now: datetime, named: Mapping[str, NamedWay]
) -> list[Json]:
    """Return the destinations that are named, and how their last message went.

    Raises:
        NotAllowedError: For those who don't administrate.
    """
    if not {held.role for held in by.roles} & TENDERS:
        raise NotAllowedError
    tries = last_tries(session, {f"{NAMED}{one.id}" for one in named.values()})
    listed = []
    for one in named.values():
        last = tries.get(f"{NAMED}{one.id}")
        listed.append(
            {
                "id": one.id, "name": one.name, "people": list(one.people),
                "shared": one.is_shared, "last_at": last.at if last else None,
                "state": last.state if last else None, "detail": last.detail if last else "",
            }
        )  # fmt: skip
    return listed
