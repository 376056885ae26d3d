"""What somebody with the database in hand could change; each must close the gate."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlmodel import Session, select

from review.records.tables import Authorisation, Decision, Grant, Step, Submission

Slots = set[tuple[str, str]]
FORGED = "sha256:" + "f" * 64


def needed(session: Session, submission: str, slots: Slots) -> list[Decision]:
    """Return the approvals that the text needs."""
    rows = session.exec(
        select(Decision).where(Decision.submission_id == submission).order_by(Decision.at)  # type: ignore[arg-type]
    )
    return [
        row for row in rows
        if row.lapsed_at is None and row.verdict == "approve" and (row.key, row.unit_id) in slots
    ]  # fmt: skip


def _on_a_decision(**changes: Any) -> Callable[[Session, str, Slots, int], None]:
    def change(session: Session, submission: str, slots: Slots, number: int) -> None:
        rows = needed(session, submission, slots)
        row = rows[number % len(rows)]
        for name, value in changes.items():
            setattr(row, name, value(row) if callable(value) else value)
        session.add(row)

    return change


def _on_the_item(**changes: Any) -> Callable[[Session, str, Slots, int], None]:
    def change(session: Session, submission: str, slots: Slots, number: int) -> None:
        row = session.get_one(Submission, submission)
        for name, value in changes.items():
            setattr(row, name, value)
        session.add(row)

    return change


def _same_author(session: Session, submission: str, slots: Slots, number: int) -> None:
    tiers = [row for row in needed(session, submission, slots) if row.tier]
    row = session.get_one(Submission, submission)
    row.author_id = tiers[number % len(tiers)].person_id
    session.add(row)


def _grant_not_held(session: Session, submission: str, slots: Slots, number: int) -> None:
    rows = needed(session, submission, slots)
    row = session.get_one(Grant, rows[number % len(rows)].grant_id)
    row.revoked_at = row.from_at
    session.add(row)


def _step(state: str) -> Callable[[Session, str, Slots, int], None]:
    def change(session: Session, submission: str, slots: Slots, number: int) -> None:
        rows = [row for row in needed(session, submission, slots) if row.tier or row.proof]
        step = session.get_one(Step, rows[number % len(rows)].step_id)
        step.state = state
        session.add(step)

    return change


def _authorisation(**changes: Any) -> Callable[[Session, str, Slots, int], None]:
    def change(session: Session, submission: str, slots: Slots, number: int) -> None:
        rows = session.exec(select(Authorisation).where(Authorisation.submission_id == submission))
        for row in rows:
            for name, value in changes.items():
                setattr(row, name, value(row) if callable(value) else value)
            session.add(row)

    return change


SABOTAGE: dict[str, Callable[[Session, str, Slots, int], None]] = {
    "nothing": lambda *_: None,
    "an approval lapsed": _on_a_decision(lapsed_at=lambda row: row.at),
    "an approval was a return": _on_a_decision(verdict="return"),
    "an approval of another text": _on_a_decision(digest=FORGED),
    "an approval in a lower role": _on_a_decision(role="info_officer"),
    "an approval without a grant": _on_a_decision(grant_id="none"),
    "an approval for somebody who trusted nobody": _on_a_decision(acting_for_id="admin"),
    "another text": _on_the_item(digest=FORGED),
    "withdrawn": _on_the_item(status="withdrawn"),
    "returned": _on_the_item(status="returned"),
    "rejected": _on_the_item(status="rejected"),
    "held": _on_the_item(status="held"),
    "the author reviewed": _same_author,
    "a grant that was not held": _grant_not_held,
    "a tier or proof skipped": _step("skipped"),
    "a tier or proof open": _step("open"),
    "no authorisation": _authorisation(ended_at=lambda row: row.at),
    "an authorisation for another text": _authorisation(digest=FORGED),
    "an authorisation for no channel": _authorisation(channels={}),
    "an authorisation that ran out": _authorisation(
        valid_until=lambda row: row.at - timedelta(seconds=1)
    ),
}
