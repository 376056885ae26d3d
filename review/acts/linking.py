"""Decisions by the link in a letter: who opens it is judged anew each time it is used.

A link stands for a person, a step's round and a version, and for nothing that they may no longer
do: roster, account, step and text are asked of the ledger in the transaction that decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from review.acts import deciding
from review.acts.entitlement import capacity
from review.acts.item import Item, policy_in_force
from review.acts.visibility import require_visible
from review.records import links, second_factor
from review.records.links import DecisionLink
from review.records.people import Person, load_person, names
from review.records.tables import Decision, Notice, PersonRow, Step, StepPerson, Submission
from review.requests import DecisionRequest
from review.rules.decisions import check_moment, find_step
from review.rules.errors import KeyReusedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.values import Profile, StepState, Verdict

WAY_IN = "link"
KINDS = ("asked", "remind", "escalated", "urge")  # notices that ask for a decision
PROOF_OF_CHANNELS = 3  # looks at every channel's rendering, which only the item's page shows


class DeadLinkError(RefusedError):
    """A link that decides nothing: `why` says what became of it."""

    default_code = "link_dead"


@dataclass(frozen=True)
class Opened:
    """A link that leads to a decision now.

    Attributes:
        id: The link's, not its token.
        asks_factor: Whether its person must give a second factor first.
        holds_factor: Whether they have one.
    """

    id: str
    person: Person
    submission_id: str
    number: str
    category: str
    step: str
    unit: str | None
    round: int
    digest: str
    asks_factor: bool
    holds_factor: bool
    used: bool = False


def make_links(
    session: Session, notice_ids: Sequence[str], lasts: timedelta, now: datetime
) -> dict[str, str]:
    """Make a link for each notice that asks its person to decide; returns tokens by notice.

    Whether somebody may decide is judged when the link is used, so here it is enough that they
    are asked.
    """
    found = session.exec(
        select(Notice, Step, Submission)
        .join(Step, col(Step.id) == col(Notice.step_id))
        .join(Submission, col(Submission.id) == col(Notice.submission_id))
        .where(col(Notice.id).in_(notice_ids))
        .where(col(Notice.kind).in_(KINDS))
        .where(Step.state == StepState.OPEN)
        .where(Step.proof != PROOF_OF_CHANNELS)
        .order_by(col(Notice.id))
    ).all()
    asked = {
        (row.step_id, row.person_id)
        for row in session.exec(
            select(StepPerson)
            .where(col(StepPerson.step_id).in_({step.id for _, step, _ in found}))
            .where(col(StepPerson.active))
        )
    }
    wanted = [
        links.Asked(notice.id, notice.person_id, row.id, step.id, row.digest)
        for notice, step, row in found
        if (step.id, notice.person_id) in asked or notice.why.startswith("delegation:")
    ]
    return links.make(session, wanted, lasts, now)


def opened(session: Session, token: str, now: datetime) -> Opened:
    """Return what a link leads to; asking changes nothing.

    Raises:
        NotFoundError: There is no such link.
        DeadLinkError: It leads nowhere any more.
    """
    link = links.find(session, token)
    if link is None:
        raise NotFoundError
    item, person = _judged(session, link, Item.seen(session, link.submission_id), now)
    return _shown(session, link, item, person, now)


def sent_again(session: Session, token: str, now: datetime) -> Opened | None:
    """Return what a link led to that was used, for a press that comes twice."""
    link = links.find(session, token)
    if link is None or link.used_at is None:
        return None
    person = load_person(session, link.person_id, now)
    if person is None or link.ended_at is not None:
        return None
    item = Item.seen(session, link.submission_id)
    return replace(_shown(session, link, item, person, now), used=True)


def decide(
    session: Session,
    person: Person,
    token: str,
    request: DecisionRequest,
    now: datetime,
    *,
    second_factor_given: bool,
) -> dict[str, Any]:
    """Take the one decision of a link; the same press again gets the first answer.

    Raises:
        DeadLinkError: It leads nowhere any more, or decided something else before.
        NotAllowedError: `second_factor_needed`.
        RuleError: As for any decision; see `deciding.decide`.
    """
    link = links.locked(session, token)
    if link is None or link.person_id != person.id:
        raise NotFoundError
    key = links.decision_id(link.id)
    if link.used_at is None:
        item = Item.locked(session, link.submission_id)
        _judged(session, link, item, now)
        asks, _ = _factor(session, item, person, now)
        if asks and not second_factor_given:
            raise NotAllowedError("second_factor_needed", why="link")
    try:
        answer = deciding.decide(
            session, person, link.submission_id, request, decision_id=key, way_in=WAY_IN, now=now
        )
    except KeyReusedError:
        raise DeadLinkError(why="used") from None
    made = session.get(Decision, key)
    if made is None or made.step_id != link.step_id or made.digest != link.digest:
        raise DeadLinkError(why="not_yours")
    if link.used_at is None:
        link.used_at = now
        session.add(link)
    return answer


def _judged(session: Session, link: DecisionLink, item: Item, now: datetime) -> tuple[Item, Person]:
    """Return the item and the person of a link that may decide at this moment.

    Whoever may no longer know it is told nothing of the item.
    """
    person = load_person(session, link.person_id, now)
    if person is None or link.ended_at is not None:
        raise DeadLinkError(why="account")
    if link.expires_at <= now:
        raise DeadLinkError(why="expired")
    step = session.get(Step, link.step_id)
    if step is None or capacity(session, person, item, step, now) is None:
        raise DeadLinkError(why="not_yours")
    try:
        require_visible(session, person, item.row, now)
    except NotFoundError:
        raise DeadLinkError(why="not_yours") from None
    try:
        found = find_step(item.case, step.key, step.unit_id, step.round)
        check_moment(item.case, item.row.status, found, _about(link, step))
    except RefusedError as refusal:
        raise _dead(session, item, step, link, refusal) from None
    return item, person


def _about(link: DecisionLink, step: Step) -> DecisionRequest:
    return DecisionRequest(
        step=step.key, verdict=Verdict.APPROVE, digest=link.digest, round=step.round
    )


def _dead(
    session: Session, item: Item, step: Step, link: DecisionLink, refusal: RefusedError
) -> DeadLinkError:
    """Return in words for the link's person what a rule refused: who decided, what changed."""
    told: dict[str, Any] = {"why": "moved", "status": item.row.status}
    match refusal.code:
        case "already_decided":
            told["why"] = "used" if link.used_at is not None else "decided"
        case "stale_version":
            told["why"] = "version"
    by = str(refusal.params.get("by", ""))
    told["by"] = names(session, [by]).get(by, {}).get("name", "")
    told["at"] = refusal.params.get("at", "")
    return DeadLinkError(item=item.row.id, step=step.key, **told)


def _shown(
    session: Session, link: DecisionLink, item: Item, person: Person, now: datetime
) -> Opened:
    step = session.get(Step, link.step_id)
    assert step is not None
    asks, holds = _factor(session, item, person, now)
    return Opened(
        id=link.id, person=person, submission_id=link.submission_id, number=item.row.number,
        category=item.row.category, step=step.key, unit=step.unit_id or None, round=step.round,
        digest=link.digest, asks_factor=asks, holds_factor=holds,
    )  # fmt: skip


def _factor(session: Session, item: Item, person: Person, now: datetime) -> tuple[bool, bool]:
    """Tell whether a person must give a second factor for an item, and whether they have one.

    Who set one up is asked for it as when signing in, so that a letter is no way around it; beyond
    that the pack asks by role and route, after the time it gives a new account.
    """
    if second_factor.holds(session, person.id):
        return True, True
    asked = policy_in_force(session)[1].second_factor
    row = session.get(PersonRow, person.id)
    grace = asked.grace.wall if asked.grace else timedelta()
    if row is not None and now < row.created_at + grace:
        return False, False
    by_role = bool({held.role for held in person.roles} & set(map(str, asked.roles)))
    return by_role or Profile(item.row.profile) in item.policy.second_factor.profiles, False
