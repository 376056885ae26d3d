"""The lists that screening reads: imported as versions, the latest of each kind is in force."""

import threading
from datetime import datetime
from typing import Literal

from sqlmodel import Session, col, select

from review.acts.adopting import adopt_calendar
from review.ids import new_id
from review.lists import builtin_sources, builtin_words, load_sources, load_words
from review.packs import digest_of
from review.records import audit
from review.records.people import Person
from review.records.tables import WordList
from review.rules.calendar import Calendar
from review.rules.errors import NotAllowedError
from review.rules.screening import Lists, Screener, Sources, Words
from review.rules.values import Role

Kind = Literal["words", "sources"]

# Who may put which in force (R2.1-1, requirements 1.8): words are the editors', rules the chief's.
KEEPERS: dict[str, frozenset[Role]] = {
    "words": frozenset({Role.CENTER_EDITOR, Role.CENTER_CHIEF}),
    "sources": frozenset({Role.CENTER_CHIEF}),
    "calendar": frozenset({Role.CENTER_CHIEF}),
}

# Without lists nothing is typed wrong, but no source is on the list either: reposts are blocked.
NO_WORDS = Words(version="-")
NO_SOURCES = Sources(version="-")
KEPT = 3  # screeners a process keeps: what is in force, and what was while somebody still reads it

_screeners: dict[tuple[str, str], Screener] = {}
_building = threading.Lock()


def import_list(
    session: Session, given: Words | Sources, now: datetime, *, by: str = "", way_in: str = "cli"
) -> bool:
    """Put a list in force from this moment on; what was imported before stays on record.

    Returns:
        False when it already was in force.
    """
    kind: Kind = "words" if isinstance(given, Words) else "sources"
    digest = digest_of(given)
    if (held := _in_force(session).get(kind)) is not None and held[0] == digest:
        return False
    session.add(
        WordList(
            id=new_id(), kind=kind, version=given.version, digest=digest,
            body=given.model_dump_json(by_alias=True), imported_at=now, by=by,
        )
    )  # fmt: skip
    audit.append(
        session, audit.BUREAU, f"{kind}_imported", at=now, person_id=by, way_in=way_in,
        digest=digest, data={"version": given.version},
    )  # fmt: skip
    session.flush()
    return True


def bring_in(
    session: Session,
    person: Person,
    given: Words | Sources | Calendar,
    now: datetime,
    *,
    way_in: str,
) -> dict[str, str | bool]:
    """Put a list or the calendar in force in somebody's name.

    Returns:
        `version` and whether anything `changed`.

    Raises:
        NotAllowedError: This list is not theirs to keep.
    """
    kind = kind_of(given)
    if not {held.role for held in person.roles} & KEEPERS[kind]:
        raise NotAllowedError
    if isinstance(given, Calendar):
        changed = adopt_calendar(session, given, now, by=person.id, way_in=way_in)
    else:
        changed = import_list(session, given, now, by=person.id, way_in=way_in)
    return {"version": given.version, "changed": changed}


def kind_of(given: Words | Sources | Calendar) -> str:
    """Return under which name a list is kept."""
    return {Words: "words", Sources: "sources", Calendar: "calendar"}[type(given)]


def adopt_first_lists(session: Session, now: datetime) -> None:
    """Put the shipped lists in force where there are none; imported ones stay."""
    held = _in_force(session)
    if "words" not in held:
        import_list(session, load_words(builtin_words()), now)
    if "sources" not in held:
        import_list(session, load_sources(builtin_sources()), now)


def has_lists(session: Session) -> bool:
    """Tell whether both kinds were ever imported."""
    return len(_in_force(session)) == 2


def lists_in_force(session: Session) -> Lists:
    """Return the lists of this moment."""
    return screener_in_force(session).lists


def screener_in_force(session: Session) -> Screener:
    """Return the screener for the lists of this moment; building one takes a while, so each is
    built once a process."""
    held = _in_force(session)
    key = (held.get("words", ("", ""))[0], held.get("sources", ("", ""))[0])
    with _building:
        found = _screeners.get(key)
        if found is None:
            words, sources = NO_WORDS, NO_SOURCES
            if "words" in held:
                row = session.get_one(WordList, held["words"][1])
                words = Words.model_validate_json(row.body)
            if "sources" in held:
                row = session.get_one(WordList, held["sources"][1])
                sources = Sources.model_validate_json(row.body)
            found = Screener(Lists(words=words, sources=sources))
            while len(_screeners) >= KEPT:
                _screeners.pop(next(iter(_screeners)))
            _screeners[key] = found
        return found


def _in_force(session: Session) -> dict[str, tuple[str, str]]:
    """Return digest and id of the latest list of each kind."""
    rows = session.exec(
        select(WordList.kind, WordList.digest, WordList.id).order_by(
            col(WordList.imported_at), col(WordList.id)
        )
    )
    return {kind: (digest, id_) for kind, digest, id_ in rows}
