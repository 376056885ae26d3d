"""Screening at work: an item's text before it is stored, after each change, and at the last door.

What is found is kept beside the version it was found in. Decisions read it there; they screen
nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, delete, or_
from sqlmodel import Session, col, select

from review.acts.item import Item, policy_in_force
from review.acts.lists import screener_in_force
from review.acts.stopping import shown, stop_findings
from review.ids import new_id
from review.records.people import Person
from review.records.tables import Attachment, FindingRow, Likeness, Submission, Version
from review.requests import Draft
from review.rules.decisions import Standing, findings_in_the_way
from review.rules.errors import MalformedError, RefusedError
from review.rules.screening import Finding, Other, Text, figures_of, similar, sketch
from review.rules.values import Status, StepState
from review.texts import text

COMPARED = timedelta(days=90)  # how far back near repeats are looked for (requirements 7)
LOOKED_UP = 6  # slots of a sketch; texts four fifths alike miss each other once in ten thousand
MOST_ALIKE = 50  # candidates that are compared closely
NAMED = 3  # of them, the most alike
SLOT = 8  # characters
# What a version is screened for beside title and body. The contact is not published: its number
# is no leak, so it is screened for what stops a text alone.
TYPED = ("sub_type", "authority_reference", "other_outlets", "background", "audience", "how_to")
TYPED_OF_ATTACHMENT = ("caption", "rights", "transcript")
PUBLIC = (Status.PUBLISHED, Status.PARTLY_PUBLISHED)
DECIDE = ("block", "warn")  # severities that stand in a decision's way
MOST_READ = 600_000  # characters of an item's files; a second or so, while others wait
UNREAD = {"no_text": "PDF_NO_TEXT", "pages_without_text": "PDF_PAGES_WITHOUT_TEXT"}
LAST_DOOR = "go_live"

Json = dict[str, Any]


# --- what is screened -----------------------------------------------------------------------------


def text_of(fields: Mapping[str, Any], **more: Any) -> Text:
    """Return the text to screen of a draft's fields, or of a stored item's.

    Args:
        fields: Named as in a request; moments as such.
        more: Other items, and whether it is the last look.
    """
    attachments = [dict(one) for one in fields.get("attachments") or ()]
    typed = {name: str(fields.get(name) or "") for name in ("title", "body", *TYPED)}
    for place, attachment in enumerate(attachments):
        for name in TYPED_OF_ATTACHMENT:
            typed[f"attachments.{place}.{name}"] = str(attachment.get(name) or "")
    kept = ("category", "kind", "sub_type", "authority_reference", "audience", "how_to")
    moments = ("event_time", "found_time", "valid_until")
    return Text.model_validate(
        {
            "fields": {name: words for name, words in typed.items() if words},
            **{name: fields.get(name) or "" for name in kept},
            **{name: fields.get(name) for name in moments},
            "source": dict(fields.get("source") or {}),
            "ai_generated": bool(fields.get("ai_generated")),
            "attachments": tuple(attachments),
            **more,
        }
    )


def _with_files(session: Session, fields: Mapping[str, Any], **more: Any) -> Text:
    """Return the text to screen with what can be read in the attached files.

    Raises:
        MalformedError: attachments_too_long: more than can be screened while others wait.
    """
    given = text_of(fields, **more)
    ids = [str(one["id"]) for one in given.attachments]
    if not ids:
        return given
    statement = select(
        Attachment.id, Attachment.media_type, Attachment.notes, Attachment.text
    ).where(col(Attachment.id).in_(ids))
    kept = {row[0]: row for row in session.exec(statement)}
    attachments, typed, length = [], dict(given.fields), 0
    for place, one in enumerate(given.attachments):
        _, media_type, notes, words = kept.get(one["id"], ("", "", [], ""))
        attachments.append(one | {"media_type": media_type, "notes": notes})
        if words:
            typed[f"attachments.{place}.text"] = words
            length += len(words)
    if length > MOST_READ:
        raise MalformedError(errors=[{"field": "attachments", "message": "attachments_too_long"}])
    return given.model_copy(update={"fields": typed, "attachments": tuple(attachments)})


def unread(given: Text) -> tuple[Finding, ...]:
    """Return which attached files nobody but a person can read, such as scans."""
    return tuple(
        Finding(
            rule=UNREAD[note], severity="warn", field=f"attachments.{place}", start=0, end=0,
            advice=f"advice.{UNREAD[note]}",
        )
        for place, one in enumerate(given.attachments)
        for note in one.get("notes") or ()
    )  # fmt: skip


def fields_of(row: Submission, version: Version) -> Json:
    """Return a stored item's fields, named as in a request."""
    return row.details | {
        "title": version.title,
        "body": version.body,
        "attachments": version.attachments,
        "source": version.source,
        "category": row.category,
        "kind": row.kind,
        "event_time": row.event_time,
        "found_time": row.found_time,
        "valid_until": row.valid_until,
    }


def _others(session: Session, own: str, unit: str, body: str, now: datetime) -> tuple[Other, ...]:
    """Return items of the last 90 days that share rare stretches with a text."""
    slots = slots_of(sketch(body))
    if not slots:
        return ()
    alike = select(Likeness.submission_id).where(col(Likeness.slot).in_(slots))
    found = (
        _with_version()
        .where(col(Submission.id).in_(alike))
        .where(Submission.submitted_at > now - COMPARED)
        .where(Submission.status != Status.WITHDRAWN)
        .where(Submission.id != own)
        .order_by(col(Submission.id).desc())
        .limit(MOST_ALIKE)
    )
    mine = sketch(body)
    near = [_other(row, unit) for row in session.exec(found)]
    return tuple(sorted(near, key=lambda one: -similar(mine, one.sketch))[:NAMED])


def _linked(session: Session, ids: Sequence[str], unit: str) -> tuple[Other, ...]:
    """Return the items that one names as related: its own unit's, and what is published."""
    if not ids:
        return ()
    found = _with_version().where(
        col(Submission.id).in_(ids),
        or_(col(Submission.unit_id) == unit, col(Submission.status).in_(PUBLIC)),
    )
    return tuple(_other(row, unit) for row in session.exec(found.order_by(col(Submission.id))))


def _with_version() -> Any:
    return select(  # type: ignore[call-overload]
        Submission.number, Submission.unit_id, Submission.status,
        Version.title, Version.sketch, Version.figures,
    ).join(
        Version,
        and_(
            col(Version.submission_id) == col(Submission.id),
            col(Version.no) == col(Submission.version),
        ),
    )  # fmt: skip


def _other(row: Any, unit: str) -> Other:
    number, owner, status, title, sketched, figures = row
    open_ = owner == unit or status in PUBLIC  # others' titles are nobody's business before that
    return Other(
        number=number, title=title if open_ else "", sketch=sketched, figures=tuple(figures)
    )


def slots_of(sketched: str) -> list[str]:
    """Return by which slots a sketched text is looked up."""
    return [sketched[at : at + SLOT] for at in range(0, min(len(sketched), LOOKED_UP * SLOT), SLOT)]


def local(now: datetime, timezone: str) -> datetime:
    """Return a moment in the bureau's zone, where days begin and end."""
    return now.astimezone(ZoneInfo(timezone))


# --- before it is stored --------------------------------------------------------------------------


def check(session: Session, person: Person, fields: Json, now: datetime) -> list[Json]:
    """Screen what somebody types; nothing is stored."""
    policy = policy_in_force(session)[1]
    given = text_of(
        fields,
        others=_others(session, "", person.unit_id, str(fields.get("body") or ""), now),
        linked=_linked(session, fields.get("linked") or (), person.unit_id),
    )
    found = screener_in_force(session).screen(given, local(now, policy.timezone))
    each = {finding.id: finding for finding in (*stop_findings(fields), *found)}
    return shown(list(each.values()))


@dataclass(frozen=True)
class Found:
    """What a text was found to have; `late` findings block from the third proof on."""

    findings: tuple[Finding, ...] = ()
    late: frozenset[str] = frozenset()


def _screened(session: Session, given: Text, timezone: str, now: datetime) -> Found:
    """Screen a text as it stands, and as the last look will see it.

    Raises:
        RefusedError: screening_stop.
    """
    screener, today = screener_in_force(session), local(now, timezone)
    kept = {one.id: one for one in (*screener.screen(given, today), *unread(given))}
    found = {_spot(one): one for one in kept.values()}
    late: set[str] = set()
    alone = given.model_copy(update={"others": (), "linked": (), "final": True})
    for one in screener.screen(alone, today):
        earlier = found.get(_spot(one))
        if one.severity != "block" or (earlier and earlier.severity == "block"):
            continue
        if earlier:
            kept.pop(earlier.id)
        warning = (earlier or one).model_copy(update={"severity": "warn", "waiver": one.waiver})
        kept[warning.id] = warning
        late.add(warning.id)
    stops = [one for one in kept.values() if one.severity == "stop"]
    if stops:
        raise RefusedError("screening_stop", findings=shown(stops))
    return Found(tuple(kept.values()), frozenset(late))


def _spot(one: Finding) -> tuple[str, str, int, int]:
    return one.rule, one.field, one.start, one.end


def screen_draft(
    session: Session,
    draft: Draft,
    attachments: Sequence[Json],
    unit: str,
    timezone: str,
    now: datetime,
) -> Found:
    """Screen a new submission before a row of it is written.

    Raises:
        RefusedError: screening_stop.
    """
    given = _with_files(
        session,
        dict(draft),
        attachments=tuple(attachments),
        source=draft.source.model_dump(),
        others=_others(session, "", unit, draft.body, now),
        linked=_linked(session, draft.linked, unit),
    )
    return _screened(session, given, timezone, now)


def screen_change(session: Session, item: Item, fields: Json, now: datetime) -> Found:
    """Screen an item as it would be after a change, before the change is written.

    Args:
        fields: As `fields_of`, with the change made.

    Raises:
        RefusedError: screening_stop.
    """
    row = item.row
    given = _with_files(
        session,
        fields,
        others=_others(session, row.id, row.unit_id, fields["body"], now),
        linked=_linked(session, fields.get("linked") or (), row.unit_id),
    )
    return _screened(session, given, item.policy.timezone, now)


# --- what is kept of it ---------------------------------------------------------------------------


def likeness_of(title: str, body: str) -> Json:
    """Return what a version keeps for comparison with others."""
    return {"sketch": sketch(body), "figures": list(figures_of(f"{title}\n{body}"))}


def remember_likeness(session: Session, row: Submission, sketched: str) -> None:
    """Let later items find this one's current text."""
    session.exec(delete(Likeness).where(col(Likeness.submission_id) == row.id))
    session.add_all(Likeness(slot=slot, submission_id=row.id) for slot in slots_of(sketched))


def remember(
    session: Session, row: Submission, found: Found, stage: str, now: datetime
) -> list[FindingRow]:
    """Keep what was found in the current version; what is no longer found is settled."""
    known = {one.finding_id: one for one in rows_of(session, row, settled=True)}
    standing = {finding.id: finding for finding in found.findings}
    for id_, one in known.items():
        if stage != LAST_DOOR and (one.gone_at is None) != (id_ in standing):
            one.gone_at = None if id_ in standing else now
            session.add(one)
    for id_, finding in standing.items():
        if id_ not in known:
            known[id_] = _row(row, finding, found, stage, now)
            session.add(known[id_])
    kept = [one for one in known.values() if one.gone_at is None]
    _count(session, row, kept)
    return kept


def remember_first(
    session: Session, row: Submission, found: Found, stage: str, now: datetime
) -> list[FindingRow]:
    """Keep what was found in a version that is new."""
    kept = [_row(row, finding, found, stage, now) for finding in found.findings]
    session.add_all(kept)
    _count(session, row, kept)
    return kept


def _count(session: Session, row: Submission, kept: Iterable[FindingRow]) -> None:
    row.findings = sum(one.severity in DECIDE or one.severity == "stop" for one in kept)
    session.add(row)


def _row(row: Submission, finding: Finding, found: Found, stage: str, now: datetime) -> FindingRow:
    told = finding.model_dump(exclude={"start", "end"})
    return FindingRow(
        id=new_id(),
        submission_id=row.id,
        version=row.version,
        finding_id=finding.id,
        begins=finding.start,
        ends=finding.end,
        late=finding.id in found.late,
        stage=stage,
        found_at=now,
        **told,
    )


def carry_waivers(
    old: Iterable[FindingRow], new: Iterable[FindingRow], before: Json, after: Json
) -> None:
    """Let a waiver hold for the next version where nothing it was given for has changed.

    Args:
        before: The fields of the version that the old findings stand in.
        after: Those of the new one.
    """
    waived = {one.finding_id: one for one in old if one.waived_at and one.gone_at is None}
    was, is_ = text_of(before), text_of(after)
    around = ("source", "attachments", "category", "authority_reference")
    if any(getattr(was, name) != getattr(is_, name) for name in around):
        return
    for one in new:
        former = waived.get(one.finding_id)
        if former is None or was.fields.get(one.field) != is_.fields.get(one.field):
            continue
        one.waived_by_id, one.waived_role = former.waived_by_id, former.waived_role
        one.waived_at, one.waive_reason = former.waived_at, former.waive_reason


def rows_of(session: Session, row: Submission, *, settled: bool = False) -> list[FindingRow]:
    """Return what was found in the current version, in the order of its places."""
    statement = (
        select(FindingRow)
        .where(FindingRow.submission_id == row.id)
        .where(FindingRow.version == row.version)
        .order_by(col(FindingRow.field), col(FindingRow.begins), col(FindingRow.finding_id))
    )
    if not settled:
        statement = statement.where(col(FindingRow.gone_at).is_(None))
    return list(session.exec(statement))


def shown_rows(
    rows: Iterable[FindingRow], known: Mapping[str, Any] | None = None, language: str = "zh"
) -> list[Json]:
    """Return kept findings for a person.

    Args:
        known: By id, who waived.
    """
    return [
        {
            "id": one.finding_id,
            "rule": one.rule,
            "severity": one.severity,
            "field": one.field,
            "start": one.begins,
            "end": one.ends,
            "advice": text(one.advice, language, suggest=one.suggest),
            "advice_code": one.advice,
            "suggest": one.suggest,
            "quote": one.quote,
            "waiver": one.waiver or None,
            "high": one.high,
            "blocks_at": "proof3_publish" if one.late else None,
            "stage": one.stage,
            "waived_by": (known or {}).get(one.waived_by_id, {"id": one.waived_by_id})
            if one.waived_by_id
            else None,
            "waive_reason": one.waive_reason or None,
        }
        for one in rows
    ]


def screen_again(session: Session, item: Item, version: Version, now: datetime) -> list[FindingRow]:
    """Screen the current version anew, since something beside its text has changed."""
    found = screen_change(session, item, fields_of(item.row, version), now)
    return remember(session, item.row, found, "changed", now)


# --- in a decision's way --------------------------------------------------------------------------


def require_no_open(
    session: Session, item: Item, proof: int, seen: Iterable[str], now: datetime
) -> int:
    """Let an approval through when nothing blocks it and every warning was seen.

    Warnings that were seen and let pass are kept as ignored (feature 44).

    Returns:
        How many warnings were let pass for the first time.

    Raises:
        RefusedError: findings_open, with the findings that are to be fixed, waived or seen.
    """
    if not item.row.findings:
        return 0
    rows = rows_of(session, item.row)
    by_id: dict[str, FindingRow] = {one.finding_id: one for one in rows}
    judged = [
        Standing(
            id=one.finding_id, rule=one.rule, severity=one.severity, is_late=one.late,
            is_waived=one.waived_at is not None,
        )
        for one in rows
    ]  # fmt: skip
    found = findings_in_the_way(judged, proof, frozenset(seen))
    if found.blocking or found.unseen:
        raise RefusedError(
            "findings_open",
            findings=shown_rows(by_id[one.id] for one in (*found.blocking, *found.unseen)),
            blocking=[one.id for one in found.blocking],
            unseen=[one.id for one in found.unseen],
        )
    fresh = [row for one in found.ignored if (row := by_id[one.id]).ignored_at is None]
    for row in fresh:
        row.ignored_at = now
        session.add(row)
    return len(fresh)


# --- the last door --------------------------------------------------------------------------------


def last_look(
    session: Session, item: Item, version: Version, now: datetime, dead: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return what stops or blocks a text by the lists of this moment and was not waived.

    Args:
        dead: Addresses that lead nowhere, as just seen.
    """
    fields = fields_of(item.row, version)
    given = _with_files(session, fields, final=True, dead=frozenset(dead))
    found = screener_in_force(session).screen(given, local(now, item.policy.timezone))
    grave = tuple(one for one in found if one.severity in ("stop", "block"))
    if not grave:
        return ()
    waived = {_place(one) for one in rows_of(session, item.row) if one.waived_at is not None}
    return tuple(one for one in grave if _spot(one) not in waived or one.severity == "stop")


def _place(row: FindingRow) -> tuple[str, str, int, int]:
    return row.rule, row.field, row.begins, row.ends


def hold(session: Session, item: Item, findings: tuple[Finding, ...], now: datetime) -> None:
    """Hold an item that must not go live as it is; keep what was found."""
    row = item.row
    graver = {_spot(one) for one in findings}
    for known in rows_of(session, row):  # a warning that has become a block is one finding
        if _place(known) in graver and known.severity not in ("block", "stop"):
            known.gone_at = now
            session.add(known)
    session.flush()
    remember(session, row, Found(findings), LAST_DOOR, now)
    row.held_status, row.status, row.held_at = row.status, Status.HELD, now
    session.add(row)


def must_be_mended(session: Session, item: Item) -> bool:
    """Tell whether an item was held at the last door for something that still stands."""
    if not item.row.findings or any(s.state == StepState.OPEN for s in item.steps):
        return False
    return any(
        one.stage == LAST_DOOR and one.waived_at is None for one in rows_of(session, item.row)
    )
