"""The lists that screening reads: imported as versions, the latest of each kind is in force."""

import threading
from datetime import datetime
from typing import Literal

from sqlmodel import Session, col, select

from review.ids import new_id
from review.lists import builtin_sources, builtin_words, load_sources, load_words
from review.packs import digest_of
from review.records import audit
from review.records.tables import WordList
from review.rules.screening import Lists, Screener, Sources, Words

Kind = Literal["words", "sources"]

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
