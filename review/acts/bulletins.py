"""Bulletins (通报, R5.2-4): prepared by the clock, signed and issued by people.

A quarter's bulletin is a draft until the centre's chief signs it and a supervising leader issues
it; both name the digest of what they read. Inside the bureau everybody then sees it (A-21); it is
public only as an ordinary submission that passes its reviews.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import literal
from sqlmodel import Session, col, func, select

from review.acts.reading import OVERSEERS
from review.acts.showing import ZONE, shown_moment
from review.acts.statistics import deeds, facts
from review.acts.submitting import submit
from review.records import audit
from review.records.bulletins import Bulletin
from review.records.engine import digests_of
from review.records.people import Person, names
from review.records.tables import Submission, Unit
from review.requests import Draft
from review.rules import statistics as rules
from review.rules.digests import digest
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.periods import bounds, is_quarter, past
from review.rules.submissions import canonical
from review.rules.values import Role
from review.texts import text

Json = dict[str, Any]
LEADERS = {Role.SUPERVISING_LEADER, Role.PUBLICITY_LEADER}
COLUMNS = (
    "submitted", "adopted", "returned", "on_time", "overdue", "corrected", "retracted", "original",
    "reposts",
)  # fmt: skip


def due(session: Session, now: datetime) -> tuple[str, ...]:
    """Return the periods that are over and have no bulletin yet, the earliest first."""
    first = session.exec(select(func.min(col(Submission.submitted_at)))).one()
    if first is None:
        return ()
    there = set(session.exec(select(Bulletin.period)))
    return tuple(period for period in past(first, now, ZONE) if period not in there)


def prepare(session: Session, period: str, now: datetime) -> Json:
    """Prepare a period's tables and, for a quarter, the draft of its text; once.

    Raises:
        NotFoundError: There is no such period, or it is not over.
    """
    limits = bounds(period, ZONE)
    if limits is None or limits[1] > now:
        raise NotFoundError
    row = session.get(Bulletin, period)
    if row is None:
        tables = tables_of(session, *limits)
        words = text_of(period, tables) if is_quarter(period) else ""
        row = Bulletin(
            period=period,
            state="draft" if is_quarter(period) else "tables",
            text=words,
            tables=tables,
            digest=digest_of(session, words, tables),
            prepared_at=now,
        )
        session.add(row)
        _note(session, "bulletin_prepared", row, None, now)
        session.flush()
    return {"period": row.period, "state": row.state, "digest": row.digest}


def tables_of(session: Session, from_: datetime, to: datetime) -> Json:
    """Return a period's tables: rows in organisational order, no people (A-21)."""
    found = facts(session, literal(True), from_, to)
    made = deeds(session, literal(True), from_, to)
    units = session.exec(select(Unit).order_by(col(Unit.place), col(Unit.id))).all()
    order = {unit.id: place for place, unit in enumerate(units)}
    called = {unit.id: unit.name for unit in units}
    busy = {fact.unit for fact in found}

    def rows(by: str) -> list[Json]:
        return [
            {
                by: row[by],
                "name": called.get(row[by], row[by]) if by == "unit" else text(f"{by}.{row[by]}"),
            }
            | {name: row[name] for name in COLUMNS}
            for row in rules.grouped(found, [by], order)
        ]

    total = rules.counted(found)
    return {
        "total": {name: total[name] for name in (*COLUMNS, "first_pass_rate")},
        "units": rows("unit"),
        "kinds": rows("kind"),
        "categories": rows("category"),
        "nothing": [unit.name for unit in units if unit.id not in busy],
        "steps": rules.step_times(made),
        "reasons": rules.reasons(made),
    }


def text_of(period: str, tables: Json) -> str:
    """Return the draft of a quarter's text; people may change it before they sign."""
    year, quarter = period.split("-Q")
    total = tables["total"]
    kinds = [
        text("bulletin.kind", "zh", name=row["name"], n=row["submitted"], adopted=row["adopted"])
        for row in tables["kinds"]
    ]
    lines = [
        text("bulletin.opening", "zh", year=year, quarter=quarter, **total),
        *([text("bulletin.kinds", "zh") + "，".join(kinds) + "。"] if kinds else []),
    ]  # fmt: skip
    if total["overdue"]:
        lines.append(text("bulletin.overdue", "zh", n=total["overdue"]))
    if tables["reasons"]:
        said = "、".join(
            f"{text('reason.' + one['reason'])}{one['returns']}次" for one in tables["reasons"]
        )
        lines.append(text("bulletin.reasons", "zh", reasons=said))
    if tables["nothing"]:
        lines.append(text("bulletin.nothing", "zh", units="、".join(tables["nothing"])))
    lines.append(text("bulletin.closing", "zh"))
    return "\n\n".join(lines)


def digest_of(session: Session, words: str, tables: Json) -> str:
    """Return the digest of what is signed: the same text and tables, the same digest."""
    return digest(canonical({"text": words, "tables": tables}), digests_of(session))


# --- people ---------------------------------------------------------------------------------------


def bulletins(session: Session, person: Person) -> list[Json]:
    """Return the bulletins that a person may see, the latest first: others than overseers the
    issued ones."""
    rows = session.exec(select(Bulletin).order_by(col(Bulletin.period).desc())).all()
    return [_line(session, row) for row in rows if _sees(person, row)]


def bulletin(session: Session, person: Person, period: str) -> Json:
    """Return one bulletin whole.

    Raises:
        NotFoundError: There is none, or it is not for this person yet.
    """
    row = session.get(Bulletin, period)
    if row is None or not _sees(person, row):
        raise NotFoundError
    return _line(session, row) | {
        "text": row.text,
        "tables": row.tables,
        "allowed": _allowed(person, row),
    }


def _sees(person: Person, row: Bulletin) -> bool:
    return row.state == "issued" or bool({held.role for held in person.roles} & OVERSEERS)


def _allowed(person: Person, row: Bulletin) -> list[str]:
    roles = {held.role for held in person.roles}
    found = []
    if row.state == "draft" and Role.CENTER_CHIEF in roles:
        found += ["revise", "sign"]
    if row.state == "signed" and roles & LEADERS and row.signed_by_id != person.id:
        found.append("issue")
    if row.state == "issued" and not row.submission_id and Role.INFO_OFFICER in roles:
        found.append("publish")
    return found


def _line(session: Session, row: Bulletin) -> Json:
    people = {one for one in (row.signed_by_id, row.issued_by_id) if one}
    known = names(session, people)
    return {
        "period": row.period,
        "state": row.state,
        "digest": row.digest,
        "prepared_at": shown_moment(row.prepared_at),
        "signed_by": known.get(row.signed_by_id or ""),
        "signed_at": shown_moment(row.signed_at),
        "issued_by": known.get(row.issued_by_id or ""),
        "issued_at": shown_moment(row.issued_at),
        "submission": row.submission_id or None,
        "total": row.tables["total"],
    }


def act(
    session: Session,
    person: Person,
    period: str,
    deed: str,
    read: str,
    now: datetime,
    *,
    words: str = "",
    way_in: str = "",
) -> Json:
    """Revise a draft's text, sign it as the centre's chief, or issue it as a supervising leader.

    Args:
        deed: revise, sign, issue.
        read: The digest of what the person read.
        words: The new text, for `revise`.

    Raises:
        NotFoundError: There is no such bulletin.
        NotAllowedError: Not by this person.
        RefusedError: `wrong_status`; `stale_version` when another text was read;
            `separation_of_duties` when one person would sign and issue.
    """
    row = session.get(Bulletin, period, with_for_update=True)
    if row is None or not _sees(person, row):
        raise NotFoundError
    roles = {held.role for held in person.roles}
    if not roles & (LEADERS if deed == "issue" else {Role.CENTER_CHIEF}):
        raise NotAllowedError(act=deed)
    if row.state != ("signed" if deed == "issue" else "draft"):
        raise RefusedError("wrong_status", status=row.state, act=deed)
    if read != row.digest:
        raise RefusedError("stale_version", digest=row.digest)
    match deed:
        case "revise":
            row.text = words
            row.digest = digest_of(session, words, row.tables)
        case "sign":
            row.state, row.signed_by_id, row.signed_at = "signed", person.id, now
        case "issue":
            if row.signed_by_id == person.id:
                raise RefusedError("separation_of_duties", step="issue")
            row.state, row.issued_by_id, row.issued_at = "issued", person.id, now
    session.add(row)
    _note(session, f"bulletin_{deed}", row, person, now, way_in)
    session.flush()
    return {"period": row.period, "state": row.state, "digest": row.digest}


def publish(
    session: Session, person: Person, period: str, draft: Draft, now: datetime, *, way_in: str
) -> Json:
    """Submit an issued bulletin as an ordinary item, once; its reviews decide (R5.2-4).

    Args:
        draft: Everything but the text, which is the bulletin's.
    """
    row = session.get(Bulletin, period, with_for_update=True)
    if row is None or not _sees(person, row):
        raise NotFoundError
    if row.state != "issued" or row.submission_id:
        raise RefusedError("wrong_status", status=row.state, act="publish")
    answer = submit(session, person, draft, way_in=way_in, now=now)
    row.submission_id = answer["id"]
    session.add(row)
    _note(session, "bulletin_submitted", row, person, now, way_in, submission=answer["id"])
    return answer


def title_of(period: str) -> str:
    """Return a bulletin's title."""
    if is_quarter(period):
        year, quarter = period.split("-Q")
        return text("bulletin.title", "zh", year=year, quarter=quarter)
    year, month = period.split("-")
    return text("bulletin.tables_title", "zh", year=year, month=int(month))


def _note(
    session: Session, event: str, row: Bulletin, person: Person | None, now: datetime,
    way_in: str = "", **data: Any,
) -> None:  # fmt: skip
    audit.append(
        session, audit.BUREAU, event, at=now, person_id=person.id if person else "",
        way_in=way_in, digest=row.digest, data={"period": row.period, "state": row.state} | data,
    )  # fmt: skip
