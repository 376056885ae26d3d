"""What people may ask for of supervision orders, incidents and violation cases."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from review.requests import Ident, Request, Short, Text
from review.rules.matters import IncidentKind, ViolationResult
from review.rules.values import Level

Subject = Annotated[str, StringConstraints(strip_whitespace=True, min_length=5, max_length=500)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=5, max_length=64)]


class NewOrder(Request):
    """A supervision order (督办单): issued by those who may, proposed by a supervisor."""

    unit: Ident
    subject: Subject
    submission: Ident | None = None
    channel: Ident | None = None
    urgent: bool = False
    due_at: AwareDatetime | None = None  # the policy's limit unless told


class OrderAct(Request):
    """One act on an order; `text` is what is said: a reply, what was put right, a reason."""

    act: Literal[
        "issue", "dismiss", "sign", "reply", "rectify", "send_back", "repeat", "close", "note"
    ]
    text: Text = ""
    subject: Subject | None = None  # of a proposal that is issued
    due_at: AwareDatetime | None = None


class NewIncident(Request):
    """An event for the register (事件登记); its clock runs from `event_at`."""

    title: Name
    kind: IncidentKind
    level: Level = Level.UNKNOWN
    unit: Ident
    event_at: AwareDatetime
    place: Short = ""
    reported_to: Short = ""


class IncidentAct(Request):
    """One act on an incident."""

    act: Literal["set_level", "authorise", "link", "final", "press_held", "close", "note"]
    level: Level | None = None
    authority: Short = ""  # who may say what is published
    reference: Short = ""
    submission: Ident | None = None
    text: Text = ""


class NewTopic(Request):
    """A topic (专题) under which several submissions are to stand."""

    title: Name
    note: Text = ""


class TopicAct(Request):
    """One act on a topic."""

    act: Literal["add", "remove", "close", "reopen"]
    submission: Ident | None = None  # for add and remove: its id or number


class NewViolation(Request):
    """A lead (线索) that a person opens; `kind` counts as the regulation does, 1 to 6."""

    kind: Annotated[int, Field(ge=1, le=6)]
    unit: Ident | None = None
    subject: Subject
    submission: Ident | None = None


class ViolationAct(Request):
    """One act on a violation case."""

    act: Literal["dismiss", "take_up", "state", "find", "note"]
    text: Text = ""
    unit: Ident | None = None  # of a lead whose unit nobody knew
    result: ViolationResult | None = None
