"""Uploads in the ledger: who brought which file, which items use it, who may fetch it (R3.1-1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from review.acts.item import policy_in_force
from review.acts.lists import screener_in_force
from review.acts.repeats import add_once
from review.acts.screening import local, unread
from review.acts.visibility import visible
from review.ids import new_id
from review.records import audit
from review.records.people import Person
from review.records.tables import Attachment, AttachmentOn, Submission
from review.requests import AttachmentUse, Request
from review.rules.cases import EDIT_ROLES
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError
from review.rules.screening import Finding, Text, screen
from review.rules.values import Role
from review.uploads import Cleaned

UPLOADERS = {Role.INFO_OFFICER, Role.UNIT_HEAD, *EDIT_ROLES}  # who may write a version
FORMS = {"image": "image", "audio": "audio", "video": "video"}  # by the media type's first half
MOST_FINDINGS = 200  # shown of one file; the first of them are reason enough

Json = dict[str, Any]


class Upload(Request):
    """What an upload asks, for its repeats and the trace of a stop: nothing of its text."""

    name: str
    original_sha256: str


@dataclass(frozen=True)
class Kept:
    """A file that somebody may fetch."""

    name: str
    media_type: str
    sha256: str


def require_uploader(person: Person) -> None:
    """Raise NotAllowedError unless the person writes texts."""
    if not {held.role for held in person.roles} & UPLOADERS:
        raise NotAllowedError("not_allowed", needs=Role.INFO_OFFICER)


def stops_in(cleaned: Cleaned) -> tuple[Finding, ...]:
    """Return what may not even be stored, in a file's name or any of its texts."""
    return screen({"name": cleaned.name, **cleaned.texts})


def findings_in(session: Session, cleaned: Cleaned, now: datetime) -> tuple[Finding, ...]:
    """Return everything the lists in force find in a file, the gravest first as they come."""
    today = local(now, policy_in_force(session)[1].timezone)
    typed = {"name": cleaned.name, **cleaned.texts}
    given = Text(
        fields={f"{place}.text": words for place, words in typed.items()},
        attachments=({"id": "", "notes": cleaned.notes},),
    )
    found = screener_in_force(session).screen(given, today)
    return (*unread(given), *found)[:MOST_FINDINGS]


def attach(
    session: Session,
    person: Person,
    cleaned: Cleaned,
    *,
    sha256: str,
    original_sha256: str,
    findings: Sequence[Json],
    way_in: str,
    now: datetime,
) -> Json:
    """Write down a file whose bytes are kept already, and return what its uploader gets to see.

    Args:
        sha256: Of the bytes that are kept.
        original_sha256: Of the bytes that came.
        findings: As shown; none of them stops.

    Raises:
        NotAllowedError: The person writes no texts.
    """
    require_uploader(person)
    row = Attachment(
        id=new_id(),
        sha256=sha256,
        original_sha256=original_sha256,
        media_type=cleaned.media_type,
        size=len(cleaned.content),
        name=cleaned.name,
        owner_id=person.id,
        width=cleaned.width,
        height=cleaned.height,
        notes=list(cleaned.notes),
        text="\n".join(cleaned.texts.values()).replace("\0", ""),
        at=now,
    )
    session.add(row)
    session.flush()
    audit.append(
        session, audit.BUREAU, "attached", at=now, person_id=person.id, way_in=way_in,
        data={
            "attachment": row.id, "sha256": sha256, "original_sha256": original_sha256,
            "media_type": row.media_type, "size": row.size,
        },
    )  # fmt: skip
    return {
        "id": row.id,
        "sha256": sha256,
        "media_type": row.media_type,
        "size": row.size,
        "name": row.name,
        "width": row.width or None,
        "height": row.height or None,
        "notes": row.notes,
        "findings": list(findings),
    }


def described(
    session: Session, person: Person, uses: Sequence[AttachmentUse], known: Iterable[str] = ()
) -> list[Json]:
    """Return attachments as a version keeps them: what was said, and which bytes they are.

    Args:
        uses: As the request names them.
        known: Ids already on the item, whoever uploaded them.

    Raises:
        MalformedError: unknown_attachment, attachment_twice.
    """
    ids = [use.id for use in uses]
    wanted = select(Attachment).where(col(Attachment.id).in_(ids))
    # held until the item uses them: none is removed as unused meanwhile
    held = wanted.with_for_update(read=True, key_share=True) if ids else wanted
    rows = {row.id: row for row in session.exec(held)}
    allowed = set(known)
    errors: list[dict[str, str]] = []
    kept: list[Json] = []
    for place, use in enumerate(uses):
        row = rows.get(use.id)
        if row is None or (row.owner_id != person.id and row.id not in allowed):
            message = "unknown_attachment"
        elif use.id in ids[:place]:
            message = "attachment_twice"
        else:
            kept.append(_described(use, row))
            continue
        errors.append({"field": "attachments", "message": message, "value": use.id})
    if errors:
        raise MalformedError(errors=errors)
    return kept


def _described(use: AttachmentUse, row: Attachment) -> Json:
    said = use.model_dump()
    if not use.background:  # as it was before there were any: the digest counts every field
        del said["background"]
    if "form" not in use.model_fields_set:
        said["form"] = FORMS.get(row.media_type.partition("/")[0], "document")
    return said | {
        "sha256": row.sha256,
        "media_type": row.media_type,
        "name": row.name,
        "size": row.size,
        "notes": row.notes,
    }


def use_on(session: Session, submission_id: str, attachments: Iterable[Json]) -> None:
    """Note that an item uses files: who sees it may fetch them from now on."""
    for one in attachments:
        add_once(session, AttachmentOn(attachment_id=one["id"], submission_id=submission_id))


def fetch(session: Session, person: Person, attachment_id: str, now: datetime) -> Kept:
    """Return a file that this person may see: as its items, or as its uploader before any.

    Raises:
        NotFoundError: It is not there, or not for this person.
    """
    row = session.get(Attachment, attachment_id)
    if row is None:
        raise NotFoundError
    used = select(AttachmentOn.submission_id).where(AttachmentOn.attachment_id == row.id)
    if session.exec(used.limit(1)).first() is None:
        seen = row.owner_id == person.id
    else:
        statement = (
            select(Submission.id)
            .where(col(Submission.id).in_(used))
            .where(visible(session, person, now))
            .limit(1)
        )
        seen = session.exec(statement).first() is not None
    if not seen:
        raise NotFoundError
    return Kept(name=row.name, media_type=row.media_type, sha256=row.sha256)
