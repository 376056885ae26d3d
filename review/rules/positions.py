"""Where a submission stands, as its workflow sees it: ids, codes and moments, never text."""

from review.rules.values import Moment, Value


class SubmissionRef(Value):
    """What a submission's workflow is started with."""

    submission_id: str
    position: "Position | None" = None  # carried over continue-as-new


class Nudge(Value):
    """Something happened in the ledger; proves nothing."""

    submission_id: str = ""
    reason: str = ""


class TurnRequest(Value):
    """Ask for a turn. `now` is the workflow's moment, compared with the worker's own clock."""

    submission_id: str
    now: Moment


class OpenStep(Value):
    """A step that waits for somebody; `people` are ids."""

    step: str
    unit: str = ""
    round: int
    role: str
    people: tuple[str, ...] = ()
    due_at: Moment | None = None


class ChannelDeed(Value):
    """A publication that is to run: publish or take back one generation on one channel."""

    channel: str
    generation: int
    wanted: str = "live"


class Position(Value):
    """The outcome of a turn: what is open, when silence next has a consequence, what to publish."""

    submission_id: str
    number: str = ""
    category: str = ""
    profile: str = ""
    status: str = "in_review"
    round: int = 1
    version: int = 1
    digest: str = ""
    overdue: bool = False
    open_steps: tuple[OpenStep, ...] = ()
    next_at: Moment | None = None
    next_mark: str = ""
    publish: tuple[ChannelDeed, ...] = ()
    done: bool = False


SubmissionRef.model_rebuild()
