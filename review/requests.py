"""What people and machines may ask for: the bodies of the contract's calls.

Unknown fields are refused. The person who asks is never a field.
"""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from review.rules.values import Category, Kind, Level, Verdict

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=5, max_length=64)]
Body = Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
Short = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=4_000)]
Link = Annotated[str, StringConstraints(max_length=2_000)]
Ident = Annotated[str, StringConstraints(min_length=1, max_length=120)]


class Request(BaseModel):
    """Base of every body: frozen, strict about fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AttachmentUse(Request):
    """An uploaded attachment as this version uses it (R3.1-1)."""

    id: Ident
    form: Literal["image", "audio", "video", "document", "link", "other"] = "image"
    caption: Short = ""
    rights: Short = ""
    map_number: Short = ""
    transcript: Text = ""
    background: bool = False  # for those who review; never published (R5.1-1)


class Source(Request):
    """Where the text comes from (R3.2, RA1-7, RA1-8)."""

    type: Literal["own", "repost", "unified_release", "service", "topic"]
    name: Short = ""
    url: Link = ""
    original_title: Short = ""
    original_body: Annotated[str, StringConstraints(max_length=200_000)] = ""
    original_on: Short = ""


class Content(Request):
    """The part of a submission that a version fixes and its digest covers."""

    title: Title
    body: Body
    attachments: Annotated[tuple[AttachmentUse, ...], Field(max_length=50)] = ()
    source: Source | None = None


class Draft(Content):
    """A new submission (POST /submissions); annex 1 or annex 2 follows from the category."""

    source: Source
    category: Category
    kind: Kind
    channels: Annotated[tuple[Ident, ...], Field(min_length=1, max_length=50)]
    secrecy_pledge: Literal[True]
    proofread: Literal[True]
    level: Level | None = None
    sub_type: Short = ""
    urgency: Literal["normal", "urgent", "flash"] = "normal"
    event_time: AwareDatetime | None = None
    found_time: AwareDatetime | None = None
    publish_at: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    disclosure_type: Literal["proactive", "on_request", "none"] = "proactive"
    authority_reference: Short = ""
    ai_generated: bool = False
    linked: Annotated[tuple[Ident, ...], Field(max_length=20)] = ()
    incident: Ident | None = None
    topic: Ident | None = None  # the id or number of an open one (R3.2-7)
    other_outlets: Text = ""
    contact: Short = ""
    countersign_units: Annotated[tuple[Ident, ...], Field(max_length=20)] = ()
    background: Text = ""
    audience: Short = ""
    how_to: Text = ""


class NewVersion(Request):
    """An answer after a return, or an edit in an edit step (POST …/versions)."""

    base_digest: Ident
    title: Title | None = None
    body: Body | None = None
    attachments: Annotated[tuple[AttachmentUse, ...], Field(max_length=50)] | None = None
    source: Source | None = None
    channels: Annotated[tuple[Ident, ...], Field(min_length=1, max_length=50)] | None = None
    authority_reference: Short | None = None
    audience: Short | None = None
    how_to: Text | None = None
    publish_at: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    change: Literal["wording", "substance"] = "substance"
    proofread: bool = True
    note: Text = ""


class DecisionRequest(Request):
    """One decision on one step (POST …/decisions)."""

    step: Ident
    verdict: Verdict
    digest: Ident
    round: Annotated[int, Field(ge=1, le=10_000)] | None = None
    unit: Ident | None = None
    opinion: Text = ""
    reason_code: Short = ""
    return_to: Short = ""
    checklist: Annotated[dict[Ident, bool], Field(max_length=100)] = Field(default_factory=dict)
    findings_seen: Annotated[tuple[Ident, ...], Field(max_length=500)] = ()
    decided_at: AwareDatetime | None = None


class HookDecision(DecisionRequest):
    """A decision sent by the OA or a chat platform (POST /hooks/decisions)."""

    submission: Ident
    account: Ident


Act = Literal[
    "withdraw", "urge", "comment", "transfer", "reassign", "delegate", "set_category",
    "set_deadline", "hold", "release", "waive", "add_signer", "reconfirm", "certify_changes",
    "late_opinion", "external_opinion", "renew_authorisation", "retract", "ratify_retraction",
    "correct", "retry_channel", "resolve_unknown", "grade",
]  # fmt: skip


class ActRequest(Request):
    """Any other act on an item (POST …/acts); which fields an act needs stands in the contract."""

    act: Act
    reason: Text = ""
    step: Ident | None = None
    round: Annotated[int, Field(ge=1, le=10_000)] | None = None
    unit: Ident | None = None
    to: Ident | None = None
    category: Category | None = None
    level: Level | None = None
    due_at: AwareDatetime | None = None
    until: AwareDatetime | None = None
    finding: Ident | None = None
    opinion: Text = ""
    anchor: Short = ""
    channels: Annotated[tuple[Ident, ...], Field(max_length=50)] | None = None
    channel: Ident | None = None
    published: bool | None = None
    base_digest: Ident | None = None
    title: Title | None = None
    body: Body | None = None
    change: Literal["wording", "substance"] = "substance"
    categories: Annotated[tuple[Category, ...], Field(max_length=4)] = ()
    organisation: Short = ""
    findings_seen: Annotated[tuple[Ident, ...], Field(max_length=500)] = ()
    grade: Literal["A", "B", "C"] | None = None


Json = dict[str, Any]
