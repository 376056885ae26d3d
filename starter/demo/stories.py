"""The stories of the demo as values: who does what to an item, and what must be true in the end."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from review.rules.errors import MalformedError
from review.rules.values import Category, Status, StepState, Verdict
from starter.demo.bureau import data_file, samples


class Line(BaseModel):
    """Base of everything in the file: an unknown key is a slip."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Approve(Line):
    """Step after step, each approved by somebody as soon as it is open."""

    approve: dict[str, str]


class Decide(Line):
    """One step, any verdict."""

    decide: str
    who: str
    verdict: Verdict = Verdict.APPROVE
    opinion: str = ""
    reason_code: str = ""
    return_to: str = ""
    refused: str = ""  # the code by which this decision is refused


class Revise(Line):
    """A new version: the author's answer, or an edit once the step `at` is open."""

    revise: str
    at: str = ""
    title: str = ""
    body: str = ""
    source: dict[str, str] = Field(default_factory=dict)
    change: str = "substance"
    note: str = ""
    stopped: tuple[str, ...] = ()  # the rules by which it is stopped


class Act(Line):
    """Any other act, once the step `at` is open; `to` is a user name, `until` a length from now."""

    act: str
    who: str
    at: str = ""
    reason: str = ""
    step: str = ""
    to: str = ""
    until: str = ""
    opinion: str = ""
    organisation: str = ""
    category: str = ""
    categories: tuple[Category, ...] = ()
    waives: str = ""  # the rule whose finding is waived


class Until(Line):
    """What to wait for: the item's status, or what has become of a step."""

    status: Status | None = None
    step: str = ""
    state: StepState | None = None
    reminders: int = 0
    escalated: int = 0


class Wait(Line):
    wait: Until


Move = Approve | Decide | Revise | Act | Wait


class Ends(Line):
    """What must be true in the end: numbers are least numbers, all else is exact."""

    status: Status | Literal["stopped"]
    profile: str = ""
    form: str = ""
    returns: int = 0
    versions: int = 1
    reminders: int = 0
    escalations: int = 0
    skipped: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    decided: dict[str, str] = Field(default_factory=dict)
    acting_for: dict[str, str] = Field(default_factory=dict)


class Story(Line):
    """One item's course."""

    item: str
    after: str = ""
    draft: dict[str, Any] = Field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    ends: Ends


def stories() -> tuple[Story, ...]:
    """Return every story, the samples' drafts filled in; a sample without a story is a mistake.

    Raises:
        MalformedError: A sample has no story, or a story no draft.
    """
    drafts = {sample["id"]: sample for sample in samples()}
    told = []
    for fields in data_file("stories.yaml")["stories"]:
        story = Story.model_validate(fields)
        draft = story.draft or drafts.pop(story.item, {})
        if not draft:
            raise MalformedError(errors=[{"field": story.item, "message": "no draft"}])
        told.append(story.model_copy(update={"draft": {"id": story.item} | draft}))
    if drafts:
        raise MalformedError(errors=[{"field": name, "message": "no story"} for name in drafts])
    return tuple(told)
