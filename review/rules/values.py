"""The base of every value, and the closed lists of words that the regulation uses."""

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

Moment = AwareDatetime


class Value(BaseModel):
    """A frozen value that may cross a process boundary; unknown fields are a newer version's."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Category(StrEnum):
    """What the submitter proposes and the unit head confirms (R4.1-8..10)."""

    WORK_NEWS = "work_news"
    IMPORTANT = "important"
    EMERGENCY = "emergency"
    PUBLIC_OPINION = "public_opinion"


class Level(StrEnum):
    """The level of an emergency; a missing one counts as unknown (A-9)."""

    MINOR = "minor"
    LARGER = "larger"
    MAJOR = "major"
    EXTREME = "extreme"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """The four content kinds that statistics count (R5.2-3)."""

    DISCLOSURE = "disclosure"
    INTERPRETATION = "interpretation"
    INTERACTION = "interaction"
    SERVICE = "service"


class Profile(StrEnum):
    """The route and clock that follow from category, level and source (requirements 3.2)."""

    WORK_NEWS = "work_news"
    REPOST_FAST = "repost_fast"
    IMPORTANT = "important"
    INCIDENT_MINOR = "incident_minor"
    EMERGENCY = "emergency"
    PUBLIC_OPINION = "public_opinion"


class Role(StrEnum):
    """Who somebody is in the bureau (requirements 1.8)."""

    INFO_OFFICER = "info_officer"
    UNIT_HEAD = "unit_head"
    CENTER_EDITOR = "center_editor"
    CENTER_DEPUTY = "center_deputy"
    CENTER_CHIEF = "center_chief"
    OFFICE_REVIEWER = "office_reviewer"
    SUPERVISING_LEADER = "supervising_leader"
    BUREAU_CHIEF = "bureau_chief"
    PUBLISHER = "publisher"
    CHANNEL_OPERATOR = "channel_operator"
    SUPERVISOR = "supervisor"
    DUTY_OFFICER = "duty_officer"
    SECURITY_ADMIN = "security_admin"
    AUDITOR = "auditor"
    PUBLICITY_LEADER = "publicity_leader"
    OFFICE_DIRECTOR = "office_director"
    SYSADMIN = "sysadmin"


class Status(StrEnum):
    """Where a submission stands (contract)."""

    IN_REVIEW = "in_review"
    RETURNED = "returned"
    HELD = "held"
    AUTHORISED = "authorised"
    PUBLISHING = "publishing"
    PUBLISHED = "published"
    PARTLY_PUBLISHED = "partly_published"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    RETRACTED = "retracted"


class StepState(StrEnum):
    """The state of one step in one round (contract)."""

    WAITING = "waiting"
    OPEN = "open"
    DECIDED = "decided"
    SKIPPED = "skipped"
    LAPSED = "lapsed"


class Verdict(StrEnum):
    """What a person can say at a step."""

    APPROVE = "approve"
    APPROVE_WITH_CHANGES = "approve_with_changes"
    RETURN = "return"
    REJECT = "reject"


class PublicationState(StrEnum):
    """How far one channel has come with one generation (contract)."""

    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    LIVE = "live"
    FAILED = "failed"
    UNKNOWN = "unknown"
    RETRACTED = "retracted"
