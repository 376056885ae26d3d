"""Retention (A-29): what was never submitted goes after a year, reported a month before.

A run lists what is old; a later one, at least a month after, removes what it listed and nobody
touched since. Each removal is a transaction of its own with its audit entry, so that a run may end
anywhere and the next goes on. What was submitted, decided, published or traced is never looked at.
Beside that each run forgets what only grows: delivered messages, ended sessions, old letters.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, cast, delete, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from review.acts.item import policy_in_force
from review.acts.notices import tell_of
from review.acts.repeats import add_once
from review.acts.showing import shown_moment
from review.blobs import Blobs
from review.ids import new_id
from review.records import audit
from review.records.engine import Ledger
from review.records.hook_tables import HookPost
from review.records.letters import REFUSED, SENT, LetterTry
from review.records.links import DecisionLink
from review.records.people import Person, holders, names
from review.records.retention import RetentionItem, RetentionReport
from review.records.tables import Attachment, AttachmentOn, Drafted, SignIn
from review.records.ways import MessageTry
from review.rules.errors import NotAllowedError, NotFoundError
from review.rules.policy import Retention
from review.rules.values import Role

Json = dict[str, Any]
READERS = frozenset({Role.SYSADMIN, Role.SECURITY_ADMIN, Role.AUDITOR})
RUNNERS = frozenset({Role.SYSADMIN})
OPEN = "open"
BATCH = 500  # rows forgotten in one transaction: the ledger's one write lock is short
AT_ONCE = 4  # of those in a run that somebody waits for
DAY = timedelta(days=1)
REPORTS = 20  # shown, the newest first


def rules_of(session: Session) -> Retention:
    """Return the numbers in force; the defaults while there is no pack."""
    try:
        return policy_in_force(session)[1].retention
    except NotFoundError:
        return Retention()


# --- what may go ----------------------------------------------------------------------------------


def _old_drafts(session: Session, before: datetime) -> list[Drafted]:
    return list(
        session.exec(select(Drafted).where(Drafted.at < before).order_by(col(Drafted.person_id)))
    )


def _old_uploads(session: Session, before: datetime) -> list[Attachment]:
    """Return the files that no item ever used and no younger draft holds."""
    used = select(AttachmentOn.attachment_id).where(AttachmentOn.attachment_id == Attachment.id)
    return list(
        session.exec(
            select(Attachment)
            .where(Attachment.at < before)
            .where(~used.exists())
            .where(~_in_a_draft(col(Attachment.id), before))
            .order_by(col(Attachment.id))
        )
    )


def _in_a_draft(attachment_id: Any, since: datetime | None = None) -> Any:
    """Compose whether somebody's draft names a file."""
    held = select(Drafted.person_id).where(cast(Drafted.typed, String).contains(attachment_id))
    if since is not None:
        held = held.where(Drafted.at >= since)
    return held.exists()


def report(session: Session, now: datetime) -> Json | None:
    """List what is old; None while a list is open, or when nothing is.

    The system administrators are told, and whoever has not gone on with a draft.
    """
    if session.exec(select(RetentionReport.id).where(RetentionReport.open_mark == OPEN)).first():
        return None
    rules = rules_of(session)
    before = now - rules.drafts.wall
    drafts, uploads = _old_drafts(session, before), _old_uploads(session, before)
    if not drafts and not uploads:
        return None
    row = RetentionReport(
        id=new_id(), open_mark=OPEN, at=now, remove_from=now + rules.notice.wall,
        rules=rules.model_dump(mode="json"),
    )  # fmt: skip
    if not add_once(session, row):  # another run was quicker
        return None
    session.add_all(
        RetentionItem(
            id=new_id(), report_id=row.id, kind="draft", of=one.person_id,
            person_id=one.person_id, as_of=one.at,
        )
        for one in drafts
    )  # fmt: skip
    session.add_all(
        RetentionItem(
            id=new_id(), report_id=row.id, kind="upload", of=one.id, person_id=one.owner_id,
            as_of=one.at, sha256=one.sha256, size=one.size,
        )
        for one in uploads
    )  # fmt: skip
    counts = {"report": row.id, "drafts": len(drafts), "uploads": len(uploads)}
    audit.append(
        session, audit.BUREAU, "retention_reported", at=now,
        data=counts | {"remove_from": row.remove_from.isoformat()},
    )  # fmt: skip
    administrators = [(one, "sysadmin") for one in holders(session, Role.SYSADMIN, "", now)]
    tell_of(
        session, row.id, administrators, "retention", "reported", now, matter="admin/retention",
        due_at=shown_moment(row.remove_from),
        times=len(drafts) + len(uploads),
    )  # fmt: skip
    owners = [(one.person_id, "draft") for one in drafts]
    tell_of(
        session, row.id, owners, "draft_old", "reported", now, matter="write",
        due_at=shown_moment(row.remove_from),
    )  # fmt: skip
    return counts


def due_items(session: Session, now: datetime) -> list[str]:
    """Return what a list that has waited long enough still holds, drafts before uploads."""
    rows = session.exec(
        select(RetentionItem.id)
        .join(RetentionReport, col(RetentionReport.id) == col(RetentionItem.report_id))
        .where(RetentionReport.open_mark == OPEN)
        .where(RetentionReport.remove_from <= now)
        .where(col(RetentionItem.removed_at).is_(None))
        .where(RetentionItem.kept_why == "")
        .order_by(col(RetentionItem.kind), col(RetentionItem.id))
    )
    return list(rows)


def remove(session: Session, item_id: str, now: datetime, by: str = "", way_in: str = "") -> bool:
    """Remove what was listed if it is as it was listed; else write down why it stays."""
    item = session.get(RetentionItem, item_id, with_for_update=True)
    if item is None or item.removed_at is not None or item.kept_why:
        return False
    item.kept_why = _why_kept(session, item)
    session.add(item)
    if item.kept_why:
        return False
    item.removed_at = now
    model: Any = Drafted if item.kind == "draft" else Attachment
    session.exec(delete(model).where(*_named(model, item)))
    audit.append(
        session, audit.BUREAU, "retention_removed", at=now, person_id=by, way_in=way_in,
        data={
            "report": item.report_id, "kind": item.kind, "of": item.of, "owner": item.person_id,
            "as_of": item.as_of.isoformat(), "sha256": item.sha256,
        },
    )  # fmt: skip
    return True


def _named(model: Any, item: RetentionItem) -> list[Any]:
    return [model.person_id == item.of if model is Drafted else model.id == item.of]


def _why_kept(session: Session, item: RetentionItem) -> str:
    """Return why something stays, empty when nothing speaks for it; its row is locked."""
    if item.kind == "draft":
        draft = session.get(Drafted, item.of, with_for_update=True)
        if draft is None:
            return "gone"  # submitted, or dropped by its writer
        return "" if draft.at == item.as_of else "changed"
    upload = session.get(Attachment, item.of, with_for_update=True)
    if upload is None:
        return "gone"
    used = select(AttachmentOn.submission_id).where(AttachmentOn.attachment_id == item.of)
    if session.exec(used.limit(1)).first() is not None:
        return "used"
    held = select(Attachment.id).where(Attachment.id == item.of).where(_in_a_draft(item.of))
    if session.exec(held).first() is not None:
        return "used"
    return "" if upload.at == item.as_of else "changed"


def loose_files(session: Session) -> list[tuple[str, str]]:
    """Return removed uploads, id and digest, whose bytes nobody has looked at yet."""
    return list(
        session.exec(
            select(RetentionItem.id, RetentionItem.sha256)
            .where(RetentionItem.kind == "upload")
            .where(col(RetentionItem.removed_at).is_not(None))
            .where(col(RetentionItem.file_at).is_(None))
        )
    )


def is_needed(session: Session, sha256: str) -> bool:
    """Tell whether an upload still has these bytes."""
    return (
        session.exec(select(Attachment.id).where(Attachment.sha256 == sha256)).first() is not None
    )


def file_dealt_with(session: Session, item_id: str, now: datetime) -> None:
    item = session.get_one(RetentionItem, item_id, with_for_update=True)
    item.file_at = now
    session.add(item)


def close(session: Session, now: datetime) -> None:
    """End the open list once nothing of it is undecided and its time has come."""
    row = session.exec(
        select(RetentionReport).where(RetentionReport.open_mark == OPEN).with_for_update()
    ).first()
    if row is None or row.remove_from > now or due_items(session, now):
        return
    row.open_mark, row.ended_at = None, now
    session.add(row)


# --- what only grows ------------------------------------------------------------------------------


def _forgettable(now: datetime, rules: Retention) -> dict[str, Any]:
    """Compose, by table, the ids of what nobody needs any more.

    The last message of an item to an endpoint stays, for the next one counts on from it; so does
    the last letter that a server took or refused, which tells whether an address is good.
    """
    later, newer, latest = aliased(HookPost), aliased(LetterTry), aliased(MessageTry)
    ended = now - rules.sessions.wall
    return {
        "hook_post": select(HookPost.id)
        .where(col(HookPost.done_at) < now - rules.messages.wall)
        .where(
            select(later.id)
            .where(later.endpoint_id == HookPost.endpoint_id)
            .where(later.submission_id == HookPost.submission_id)
            .where(later.n > HookPost.n)
            .exists()
        ),
        "sign_in": select(SignIn.id).where(
            or_(col(SignIn.ended_at) < ended, col(SignIn.expires_at) < ended)
        ),
        "decision_link": select(DecisionLink.id).where(DecisionLink.expires_at < ended),
        "letter_try": select(LetterTry.id)
        .where(LetterTry.at < now - rules.letters.wall)
        .where(
            select(newer.id)
            .where(newer.person_id == LetterTry.person_id)
            .where(newer.id > LetterTry.id)
            .where(col(newer.state).in_((SENT, REFUSED)))
            .exists()
        ),
        "message_try": select(MessageTry.id)
        .where(MessageTry.at < now - rules.letters.wall)
        .where(
            select(latest.id)
            .where(latest.way == MessageTry.way)
            .where(latest.id > MessageTry.id)
            .where(col(latest.state).in_((SENT, REFUSED)))
            .exists()
        ),
    }


TABLES: dict[str, Any] = {
    "hook_post": HookPost,
    "sign_in": SignIn,
    "decision_link": DecisionLink,
    "letter_try": LetterTry,
    "message_try": MessageTry,
}


def prune(session: Session, name: str, now: datetime, by: str = "", way_in: str = "") -> int:
    """Forget some rows of a table and write down how many; 0 when there are none left."""
    model = TABLES[name]
    ids = session.exec(_forgettable(now, rules_of(session))[name].limit(BATCH)).all()
    if not ids:
        return 0
    gone = session.exec(delete(model).where(col(model.id).in_(ids))).rowcount
    audit.append(
        session, audit.BUREAU, "retention_pruned", at=now, person_id=by, way_in=way_in,
        data={"table": name, "rows": int(gone)},
    )  # fmt: skip
    return int(gone)


# --- a run ----------------------------------------------------------------------------------------


async def run(
    ledger: Ledger,
    blobs: Blobs | None,
    clock: Callable[[], datetime],
    *,
    by: str = "",
    way_in: str = "",
) -> Json:
    """Remove what is due, forget what only grows, and list what is old by now.

    Safe to be ended at any point and to be run by two at once: the next run goes on.

    Args:
        blobs: Where uploads are kept; None leaves their bytes to a run that has them.
        by: Who asked for it; empty: the schedule.

    Returns:
        `{removed, files, pruned: {table: rows}, reported: {…} or None}`.
    """
    removed = files = 0
    for item in await ledger.read(due_items, clock()):
        removed += await ledger.run(remove, item, clock(), by, way_in)
    await ledger.run(close, clock())
    if blobs is not None:
        files = await drop_files(ledger, blobs, clock)
    pruned = dict.fromkeys(TABLES, 0)
    for name in TABLES:
        while rows := await ledger.run(prune, name, clock(), by, way_in):
            pruned[name] += rows
    reported = await ledger.run(report, clock())
    return {"removed": removed, "files": files, "pruned": pruned, "reported": reported}


def run_at_once(session: Session, person: Person, now: datetime, *, way_in: str) -> Json:
    """Do a run in one transaction, as its administrator asks; the bytes of files come after it.

    What there is too much of to forget in one transaction is left to the nightly run.

    Raises:
        NotAllowedError: Not a system administrator.
    """
    require(person, RUNNERS, "retention_run")
    removed = sum(remove(session, one, now, person.id, way_in) for one in due_items(session, now))
    session.flush()
    close(session, now)
    pruned = {
        name: sum(prune(session, name, now, person.id, way_in) for _ in range(AT_ONCE))
        for name in TABLES
    }
    return {"removed": removed, "pruned": pruned, "reported": report(session, now)}


async def drop_files(ledger: Ledger, blobs: Blobs, clock: Callable[[], datetime]) -> int:
    """Remove the bytes of uploads that are gone; returns of how many."""
    files = 0
    for item, digest in await ledger.read(loose_files):
        files += await _drop_file(ledger, blobs, digest)
        await ledger.run(file_dealt_with, item, clock())
    return files


async def _drop_file(ledger: Ledger, blobs: Blobs, digest: str) -> bool:
    """Remove bytes that no upload has; one that came meanwhile keeps or gets them back."""
    for is_aside in (False, True):
        if await ledger.read(is_needed, digest):
            await asyncio.to_thread(blobs.put_back, digest)
            return False
        if not is_aside and not await asyncio.to_thread(blobs.set_aside, digest):
            return False
    return await asyncio.to_thread(blobs.drop_aside, digest)


# --- reading --------------------------------------------------------------------------------------


def require(person: Person, roles: frozenset[Role], act: str) -> None:
    """Raise NotAllowedError unless somebody holds one of these roles."""
    if not {held.role for held in person.roles} & roles:
        raise NotAllowedError(act=act)


def shown(session: Session, person: Person, now: datetime) -> Json:
    """Return the numbers in force, what a run would forget now, and the reports.

    Raises:
        NotAllowedError: Neither system nor security administrator nor auditor.
    """
    require(person, READERS, "retention")
    rules = rules_of(session)
    rows = session.exec(
        select(RetentionReport).order_by(col(RetentionReport.id).desc()).limit(REPORTS)
    ).all()
    return {
        "rules": rules.model_dump(mode="json"),
        "days": {name: round(length.wall / DAY, 1) for name, length in rules},
        "forgettable": {
            name: session.exec(select(func.count()).select_from(ids.subquery())).one()
            for name, ids in _forgettable(now, rules).items()
        },
        "items": [_report(session, row) for row in rows],
    }


def _report(session: Session, row: RetentionReport) -> Json:
    items = session.exec(
        select(RetentionItem)
        .where(RetentionItem.report_id == row.id)
        .order_by(col(RetentionItem.kind), col(RetentionItem.id))
    ).all()
    known = names(session, {one.person_id for one in items})
    return {
        "id": row.id,
        "state": "open" if row.open_mark else "ended",
        "at": shown_moment(row.at),
        "remove_from": shown_moment(row.remove_from),
        "ended_at": shown_moment(row.ended_at),
        "entries": [
            {
                "kind": one.kind,
                "person": known.get(one.person_id),
                "as_of": shown_moment(one.as_of),
                "size": one.size or None,
                "state": "removed" if one.removed_at else one.kept_why or "listed",
                "removed_at": shown_moment(one.removed_at),
            }
            for one in items
        ],
    }
