"""The ledger: one class a table. Constraints carry the invariants that no code may break.

Moments are stored in UTC and come back aware. Empty text stands for "none" where a column takes
part in a UNIQUE constraint, since NULLs never collide.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Index,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware on both sides of the database, UTC inside it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment must be aware")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def moment(**options: Any) -> Any:
    """A required moment column."""
    return Field(sa_type=UtcDateTime, **options)


def maybe_moment(**options: Any) -> Any:
    """A moment column that may be empty."""
    return Field(default=None, sa_type=UtcDateTime, nullable=True, **options)


def json(default: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """A column of JSON that starts empty."""
    return Field(default_factory=default, sa_type=JSON)


def long_text() -> Any:
    """A column for text of any length."""
    return Field(default="", sa_type=Text)


def table_of(model: type[SQLModel]) -> Table:
    """Return a model's table, for statements that read columns and no objects."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


# --- people -------------------------------------------------------------------------------------


class Unit(SQLModel, table=True):
    """A department (处室) or an affiliate (直属单位), R0-1."""

    id: str = Field(primary_key=True)
    name: str
    kind: str = "department"
    place: int = 0  # organisational order; never a ranking
    under_chief: bool = False  # no supervising leader: the bureau chief is


class PersonRow(SQLModel, table=True):
    """One person, one account (R4.1-4)."""

    __tablename__ = "person"

    id: str = Field(primary_key=True)
    username: str = Field(unique=True)
    name: str
    unit_id: str = Field(foreign_key="unit.id")
    password_hash: str = ""
    oa_account: str | None = Field(default=None, unique=True)
    email: str = ""
    backup_id: str | None = Field(default=None, foreign_key="person.id")  # B岗
    disabled_at: datetime | None = maybe_moment()
    created_at: datetime = moment()


class Grant(SQLModel, table=True):
    """A role a person holds, for a unit or for the bureau (unit empty), between two moments."""

    __tablename__ = "role_grant"
    __table_args__ = (Index("ix_grant_role", "role", "unit_id"),)

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    role: str
    unit_id: str = ""
    from_at: datetime = moment()
    until_at: datetime | None = maybe_moment()
    revoked_at: datetime | None = maybe_moment()
    granted_by: str = ""


class Delegation(SQLModel, table=True):
    """A written, dated delegation (委托): `to` may act for `from`, printed as 代 (A-28)."""

    id: str = Field(primary_key=True)
    from_id: str = Field(foreign_key="person.id", index=True)
    to_id: str = Field(foreign_key="person.id", index=True)
    categories: list[str] = json(list)  # empty: all
    from_at: datetime = moment()
    until_at: datetime = moment()
    revoked_at: datetime | None = maybe_moment()
    filed: bool = False  # a standing 授权书, needed for the bureau chief in C and D


class Token(SQLModel, table=True):
    """A program's or person's bearer token; only its hash is kept."""

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    hash: str = Field(unique=True)
    label: str = ""
    created_at: datetime = moment()
    revoked_at: datetime | None = maybe_moment()


class SignIn(SQLModel, table=True):
    """A browser's session; its secret is kept as a hash, so a copied ledger opens nothing."""

    id: str = Field(primary_key=True)  # sha256 of the cookie
    person_id: str = Field(foreign_key="person.id", index=True)
    csrf: str
    way: str = "password"  # password, oidc
    second_factor: bool = False  # given when it was opened, or since
    proof: str | None = Field(default=None, unique=True)  # an identity provider's word counts once
    created_at: datetime = moment()
    seen_at: datetime = moment()
    expires_at: datetime = moment()
    ended_at: datetime | None = maybe_moment()


class Attempts(SQLModel, table=True):
    """Failed sign-ins of a name or an address, whether or not such an account exists."""

    __tablename__ = "sign_in_attempts"

    key: str = Field(primary_key=True)  # name:sha256 or address:sha256
    moments: list[str] = json(list)
    last_at: datetime = moment(index=True)


class SecondFactor(SQLModel, table=True):
    """Somebody's authenticator (RFC 6238); the secret is sealed with a key from SECRET_KEY."""

    __tablename__ = "second_factor"

    person_id: str = Field(primary_key=True, foreign_key="person.id")
    secret: str
    last_period: int = 0  # of the last code taken; an earlier one opens nothing
    made_at: datetime = moment()
    confirmed_at: datetime | None = maybe_moment()


class RecoveryCode(SQLModel, table=True):
    """Opens once in place of a lost authenticator; only its hash is kept."""

    __tablename__ = "recovery_code"

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    hash: str
    used_at: datetime | None = maybe_moment()


class FirstKey(SQLModel, table=True):
    """The key that names the first administrator; one row for ever, so it is made once."""

    __tablename__ = "first_key"

    id: str = Field(primary_key=True)
    hash: str
    made_at: datetime = moment()
    used_at: datetime | None = maybe_moment()
    person_id: str = ""


class Channel(SQLModel, table=True):
    """A place where the bureau publishes (账号台账), operated by a unit (R2.2-3)."""

    id: str = Field(primary_key=True)
    name: str
    platform: str
    operator_unit_id: str = Field(foreign_key="unit.id")
    state: str = "active"
    place: int = 0


# --- rules in force -----------------------------------------------------------------------------


class Pack(SQLModel, table=True):
    """A policy pack as it was adopted; submissions are pinned to one (R0-4)."""

    digest: str = Field(primary_key=True)
    id: str
    version: str
    body: str = long_text()
    adopted_at: datetime = moment(index=True)


class PolicyProposal(SQLModel, table=True):
    """A change of the rules that one person proposed and another has yet to confirm."""

    __tablename__ = "policy_proposal"

    id: str = Field(primary_key=True)
    digest: str
    pack_id: str
    version: str
    body: str = long_text()
    base_digest: str  # the pack in force when it was proposed; the change is told against it
    proposed_by_id: str = Field(foreign_key="person.id")
    proposed_at: datetime = moment()
    state: str = Field(default="open", index=True)  # open, confirmed, rejected, overtaken
    decided_by_id: str | None = Field(default=None, foreign_key="person.id")
    decided_at: datetime | None = maybe_moment()


class CalendarRow(SQLModel, table=True):
    """A working calendar as imported; the latest is in force (A-30)."""

    __tablename__ = "calendar"

    digest: str = Field(primary_key=True)
    version: str
    body: str = long_text()
    imported_at: datetime = moment(index=True)


class WordList(SQLModel, table=True):
    """One import of the words or of the source whitelist; the latest of a kind is in force."""

    __tablename__ = "word_list"
    __table_args__ = (Index("ix_word_list_kind", "kind", "imported_at"),)

    id: str = Field(primary_key=True)
    kind: str  # words, sources
    version: str
    digest: str
    body: str = long_text()
    imported_at: datetime = moment()
    by: str = ""


class Counter(SQLModel, table=True):
    """The last number given in a year."""

    year: int = Field(primary_key=True)
    last: int = 0


# --- submissions --------------------------------------------------------------------------------

UNANNOUNCED = text("audit_n > announced_n")  # what other systems have yet to be told of


class Submission(SQLModel, table=True):
    """One item and where it stands. Its text is in its versions."""

    __table_args__ = (
        Index("ix_submission_list", "status", "id"),
        Index("ix_submission_unit", "unit_id", "id"),
        Index("ix_submission_author", "author_id", "id"),
        Index("ix_submission_category", "category", "id"),
        Index("ix_submission_published", "published_at"),
        Index(
            "ix_submission_unannounced", "id",
            sqlite_where=UNANNOUNCED, postgresql_where=UNANNOUNCED,
        ),
    )  # fmt: skip

    id: str = Field(primary_key=True)
    number: str = Field(unique=True)
    unit_id: str = Field(foreign_key="unit.id")
    author_id: str = Field(foreign_key="person.id")
    category: str
    level: str = ""
    profile: str
    kind: str
    urgency: str = "normal"
    status: str
    held_status: str = ""  # where a hold goes back to
    title: str  # of the current version, for lists
    source_type: str = "own"
    channels: list[str] = json(list)
    details: dict[str, Any] = json(dict)
    event_time: datetime | None = maybe_moment()
    found_time: datetime | None = maybe_moment()
    publish_at: datetime | None = maybe_moment()
    valid_until: datetime | None = maybe_moment()
    version: int = 1
    digest: str
    findings: int = 0  # how many of the current text block it or must be seen; 0 spares a look
    round: int = 1
    policy_digest: str = Field(foreign_key="pack.digest")
    submitted_at: datetime = moment()
    reported_at: datetime | None = maybe_moment()  # 报送: the unit head's approval (R4.1-5)
    due_at: datetime | None = maybe_moment()
    overdue_at: datetime | None = maybe_moment()  # 迟报 is this, recorded
    held_at: datetime | None = maybe_moment()
    ended_at: datetime | None = maybe_moment()
    published_at: datetime | None = maybe_moment()
    audit_n: int = 0
    audit_head: str = ""
    # of these entries, how many other systems were told of; below 0: -1 less that many, and the
    # people asked are to be looked at anew
    announced_n: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class Version(SQLModel, table=True):
    """One text of a submission, never changed; a decision is bound to its digest."""

    __table_args__ = (UniqueConstraint("submission_id", "no"),)

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id")
    no: int
    title: str
    body: str = long_text()
    attachments: list[dict[str, Any]] = json(list)
    source: dict[str, Any] = json(dict)
    links: list[str] = json(list)
    digest: str
    text_digest: str = Field(index=True)
    base_no: int = 0
    change: str = "submitted"  # submitted, wording, substance
    figures_changed: bool = False
    author_id: str = Field(foreign_key="person.id")
    author_role: str
    proofread: bool = True
    note: str = ""
    sketch: str = long_text()  # what near repeats are found by; the text can't be told from it
    figures: list[str] = json(list)
    at: datetime = moment()


class Attachment(SQLModel, table=True):
    """A file that somebody uploaded, cleaned and screened; its bytes are kept by their digest."""

    id: str = Field(primary_key=True)
    sha256: str = Field(index=True)  # of the bytes that are kept
    original_sha256: str  # of the bytes that came
    media_type: str
    size: int
    name: str
    owner_id: str = Field(foreign_key="person.id", index=True)
    width: int = 0
    height: int = 0
    notes: list[str] = json(list)  # what a reviewer must know, such as no_text
    text: str = long_text()  # for later lists; nothing in it stopped
    at: datetime = moment()


class AttachmentOn(SQLModel, table=True):
    """Which items use a file, in any version: who sees one of them may fetch it."""

    __tablename__ = "attachment_on"

    attachment_id: str = Field(primary_key=True, foreign_key="attachment.id")
    submission_id: str = Field(primary_key=True, foreign_key="submission.id", index=True)


class Drafted(SQLModel, table=True):
    """What a person is writing and has not submitted; never a text that a stop rule stops."""

    __tablename__ = "draft"

    person_id: str = Field(primary_key=True, foreign_key="person.id")
    typed: dict[str, Any] = json(dict)
    at: datetime = moment()


class SavedView(SQLModel, table=True):
    """A person's own name for a set of filters on the table of items."""

    __tablename__ = "saved_view"
    __table_args__ = (UniqueConstraint("person_id", "name"),)

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id")
    name: str
    query: str = long_text()
    at: datetime = moment()


class Likeness(SQLModel, table=True):
    """Where near repeats are looked up: a few of the current text's shingles, by digest."""

    slot: str = Field(primary_key=True)
    submission_id: str = Field(primary_key=True, foreign_key="submission.id", index=True)


class FindingRow(SQLModel, table=True):
    """What screening found in one version, and who waived it; never anything of a stopped text."""

    __tablename__ = "finding"
    __table_args__ = (
        UniqueConstraint("submission_id", "version", "finding_id"),
        Index("ix_finding_ignored", "ignored_at"),
    )

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id")
    version: int
    finding_id: str
    rule: str
    severity: str
    field: str
    begins: int
    ends: int
    advice: str
    suggest: str = ""
    quote: str = ""
    waiver: str = ""  # the role that may waive it; empty: none
    high: bool = False
    late: bool = False  # a warning until the third proof, which it blocks
    stage: str  # submitted, changed, go_live
    found_at: datetime = moment()
    gone_at: datetime | None = maybe_moment()  # another field's change has settled it
    waived_by_id: str | None = Field(default=None, foreign_key="person.id")
    waived_role: str = ""
    waived_at: datetime | None = maybe_moment()
    waive_reason: str = long_text()
    ignored_at: datetime | None = maybe_moment()  # a warning that was seen and let pass


class Step(SQLModel, table=True):
    """One step in one round: what a decision is judged against."""

    __table_args__ = (
        UniqueConstraint("submission_id", "key", "unit_id", "round"),
        Index("ix_step_open", "state", "due_at"),
    )

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id")
    key: str
    unit_id: str = ""
    round: int
    position: int
    role: str
    tier: int = 0
    proof: int = 0
    group: str = ""
    limit: str
    on_timeout: str
    origin: str = "plan"  # plan, reconfirm, countersign, add_signer, certify
    state: str
    opened_at: datetime | None = maybe_moment()
    due_at: datetime | None = maybe_moment()
    decided_at: datetime | None = maybe_moment()
    overdue_at: datetime | None = maybe_moment()
    explanation: list[dict[str, Any]] = json(list)
    reminders_sent: int = 0
    repeats: int = 0
    escalated: int = 0  # 0 none, 1 backup and supervisor, 2 superior
    only_for: str = ""  # after a transfer: this person alone
    clock: int = 0  # how often its deadline was set anew; part of its milestones' marks


class StepPerson(SQLModel, table=True):
    """Somebody asked on a step; rows stay when others take over, for visibility (contract)."""

    __table_args__ = (Index("ix_step_person", "person_id", "waits", "step_id"),)

    step_id: str = Field(primary_key=True, foreign_key="step.id")
    person_id: str = Field(primary_key=True, foreign_key="person.id")
    submission_id: str = Field(index=True)
    why: str  # role, backup, superior, transfer
    active: bool = True  # False: somebody else is asked now
    waits: bool = True  # False: the step is over; an inbox doesn't grow with what was decided
    since: datetime = moment()


class Decision(SQLModel, table=True):
    """What a person decided. The primary key is the idempotency key, so it can't count twice."""

    __table_args__ = (
        # one closing decision a step round
        UniqueConstraint("closes_step_id"),
        Index("ix_decision_submission", "submission_id", "at"),
        # what somebody handled, found without a look at the rows
        Index("ix_decision_person", "person_id", "submission_id"),
        Index("ix_decision_acting_for", "acting_for_id", "submission_id"),
    )

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id")
    step_id: str = Field(foreign_key="step.id")
    closes_step_id: str | None = None
    key: str
    unit_id: str = ""
    round: int
    tier: int = 0
    proof: int = 0
    verdict: str
    digest: str
    person_id: str = Field(foreign_key="person.id")
    acting_for_id: str | None = None
    role: str
    grant_id: str = ""
    why: str = "role"
    opinion: str = long_text()
    reason_code: str = ""
    return_to: str = ""
    checklist: dict[str, bool] = json(dict)
    findings_seen: list[str] = json(list)
    way_in: str
    at: datetime = moment()
    decided_at: datetime | None = maybe_moment()  # as the caller says; recorded, never judged by
    lapsed_at: datetime | None = maybe_moment()
    request_hash: str
    answer: dict[str, Any] = json(dict)


class MilestoneRow(SQLModel, table=True):
    """A moment at which silence has a consequence; fired once, by compare-and-set."""

    __tablename__ = "milestone"
    __table_args__ = (
        UniqueConstraint("submission_id", "step_id", "mark"),
        Index("ix_milestone_due", "submission_id", "fired_at", "at"),
    )

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id")
    step_id: str = ""
    kind: str
    mark: str
    at: datetime = moment()
    fired_at: datetime | None = maybe_moment()
    dropped: bool = False  # its step was decided, or its moment was moved
    shown: dict[str, Any] = json(dict)


class Remark(SQLModel, table=True):
    """A comment, a recorded external opinion (A-26), a late opinion or an instruction.

    An editor's grade (R5.1-1) is one too, with the grade as its anchor.
    """

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id", index=True)
    kind: str
    step_key: str = ""
    person_id: str = Field(foreign_key="person.id")
    organisation: str = ""
    text: str = long_text()
    anchor: str = ""
    at: datetime = moment()


class Authorisation(SQLModel, table=True):
    """The publish authorisation (发布授权): which version may go where, until when (R1.3-6)."""

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id", index=True)
    round: int
    digest: str
    channels: dict[str, dict[str, str]] = json(dict)  # channel: {rendered_digest, unit}
    person_id: str
    decision_id: str
    at: datetime = moment()
    publish_at: datetime | None = maybe_moment()
    valid_until: datetime = moment()
    ended_at: datetime | None = maybe_moment()
    ended_why: str = ""


class Publication(SQLModel, table=True):
    """The claim on one channel for one generation, its digest pinned before anything is sent."""

    __table_args__ = (
        UniqueConstraint("submission_id", "channel", "generation"),
        Index("ix_publication_state", "state", "at"),
    )

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id")
    channel: str
    generation: int
    authorisation_id: str
    digest: str
    rendered_digest: str
    state: str
    wanted: str = "live"  # live, retracted
    url: str = ""
    detail: str = ""
    reference: str = ""  # the platform's own id
    at: datetime = moment()
    live_at: datetime | None = maybe_moment()


class Attempt(SQLModel, table=True):
    """One try to send or take back; written before the try, closed after it."""

    __table_args__ = (UniqueConstraint("publication_id", "no"),)

    id: str = Field(primary_key=True)
    publication_id: str = Field(foreign_key="publication.id")
    no: int
    deed: str  # publish, retract
    started_at: datetime = moment()
    ended_at: datetime | None = maybe_moment()
    outcome: str = ""
    detail: str = ""


# --- what leaves the ledger ---------------------------------------------------------------------


UNROUTED = text("routed_at IS NULL")  # whose ways beside the inbox have yet to be settled


class Notice(SQLModel, table=True):
    """A message to one person; the key makes it exist once."""

    __table_args__ = (
        Index("ix_notice_mail", "mailed_at", "next_try_at"),
        Index("ix_notice_person", "person_id", "submission_id"),
        Index("ix_notice_unrouted", "id", sqlite_where=UNROUTED, postgresql_where=UNROUTED),
    )

    id: str = Field(primary_key=True)
    key: str = Field(unique=True)
    submission_id: str = Field(index=True)
    step_id: str = ""
    person_id: str = Field(foreign_key="person.id")
    kind: str
    why: str = ""
    shown: dict[str, Any] = json(dict)
    at: datetime = moment()
    not_before: datetime = moment()
    routed_at: datetime | None = maybe_moment()  # when its ways beside the inbox were settled
    read_at: datetime | None = maybe_moment()
    mailed_at: datetime | None = maybe_moment()
    attempts: int = 0
    next_try_at: datetime = moment()
    error: str = ""


class Outbox(SQLModel, table=True):
    """A nudge owed to the engine; the turn that follows marks it done."""

    __table_args__ = (Index("ix_outbox_due", "done_at", "next_try_at"),)

    id: str = Field(primary_key=True)
    submission_id: str = Field(foreign_key="submission.id", index=True)
    reason: str
    at: datetime = moment()
    done_at: datetime | None = maybe_moment()
    attempts: int = 0
    next_try_at: datetime = moment()
    request_id: str | None = None


class IdempotencyKey(SQLModel, table=True):
    """The first answer to a request that carried a key."""

    person_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    request_hash: str
    status: int
    answer: dict[str, Any] = json(dict)
    at: datetime = moment()


class Audit(SQLModel, table=True):
    """One line of the trace (全程留痕); each entry carries the hash of the one before it."""

    __table_args__ = (UniqueConstraint("chain", "n"),)

    seq: int | None = Field(default=None, primary_key=True)
    chain: str  # a submission's id, or "bureau"
    n: int
    at: datetime = moment()
    event: str
    person_id: str = ""
    acting_for_id: str = ""
    role: str = ""
    way_in: str = ""
    digest: str = ""
    data: dict[str, Any] = json(dict)
    algorithm: str = "sha256"
    prev: str
    hash: str


class CheckpointRow(SQLModel, table=True):
    """A signed state of the whole trace; its like is kept outside the ledger too."""

    __tablename__ = "checkpoint"

    no: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    at: datetime = moment()
    entries: int
    last_seq: int
    hash: str
    body: str = long_text()
