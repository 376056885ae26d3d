"""What ledger, publisher and channel say to each other about one item on one channel.

A publication is named by (submission, channel, generation); its key is the same for every try,
so that a repeated send can be recognised at the far end (R1.3-2, R1.3-6).
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from review.rules.values import Moment, PublicationState, Value

Deed = Literal["publish", "retract"]

# A claim in one of these states has nothing left to send for that deed.
FINAL: dict[Deed, frozenset[PublicationState]] = {
    "publish": frozenset(
        {PublicationState.LIVE, PublicationState.FAILED, PublicationState.RETRACTED}
    ),
    "retract": frozenset({PublicationState.RETRACTED}),
}


def published_part(attachments: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return the attachments that are published; background material (R5.1-1) never is."""
    return tuple(one for one in attachments if not one.get("background"))


def publication_key(submission_id: str, channel: str, generation: int) -> str:
    """Return the key that every try of this publication carries to the channel."""
    return f"{submission_id}-{channel}-{generation}"


def published_line(
    unit_name: str, digest: str, source: dict[str, Any] | None = None, on: str = ""
) -> dict[str, Any]:
    """Return what stands under a published text besides the text itself.

    The preview a person proofs, the authorisation's digest and the page on the channel are made
    from this one line, so they agree to the byte.

    Args:
        unit_name: The unit that answers for the item (R1.3-3).
        digest: The version's digest.
        source: `{type, name, url, original_title, original_on}` of the version (R3.2-4).
        on: A day to show, as text, if the version names one; never a moment of today.
    """
    return {"unit_name": unit_name, "digest": digest, "source": dict(source or {}), "on": on}


class Receipt(Value):
    """What a channel said. `detail` is a catalogue code, `reference` the platform's own id.

    `said` is the platform's own code, such as an HTTP status or errcode; never its words.

    SUBMITTED says: surely nothing is public and nothing is under way; what was prepared stands in
    `reference`, and the deed goes on with the next try, after `wait_seconds` where it says so.
    """

    state: PublicationState
    url: str = ""
    detail: str = ""
    reference: str = ""
    said: str = ""
    wait_seconds: float = 0


class Connection(Value):
    """How a channel's platform is reached, as an administrator registered it.

    Args:
        account: The platform's name for the account, such as an AppID.
        secret: Signs or signs in; never printed.
        options: What a kind of channel needs besides, such as `cover` of 微信公众号.
    """

    address: str = ""
    account: str = ""
    secret: str = Field(default="", repr=False)
    options: dict[str, str] = Field(default_factory=dict)


class Claim(Value):
    """The ledger's leave for one try, its digests pinned; carries all that the try needs.

    Args:
        state: The publication's state before this try.
        digest: Of the version, as authorised.
        rendered_digest: Of the bytes a person proofed (三校); another rendering is not sent.
        attempt_no: This try's number, from 1.
        in_doubt: An earlier try began and never ended, so it may have arrived.
        may_send: False when the gate has closed since an earlier try began: the channel may be
            asked what became of that try, nothing more is sent.
        reference: The platform's own id from an earlier receipt.
        correction_of: The live generation that this one replaces; 0 for a first publication.
        replaces: The platform's own id of that generation.
        first_published_at: When the item first went live on this channel.
    """

    publication_id: str
    submission_id: str
    number: str
    channel: str
    platform: str
    generation: int
    deed: Deed = "publish"
    state: PublicationState = PublicationState.SUBMITTED
    digest: str
    rendered_digest: str
    title: str
    body: str
    attachments: Annotated[tuple[dict[str, Any], ...], AfterValidator(published_part)] = ()
    source: dict[str, Any] = Field(default_factory=dict)
    unit_name: str
    on: str = ""
    attempt_no: int = 1
    in_doubt: bool = False
    may_send: bool = True
    reference: str = ""
    correction_of: int = 0
    replaces: str = ""
    first_published_at: Moment | None = None

    @property
    def key(self) -> str:
        return publication_key(self.submission_id, self.channel, self.generation)

    @property
    def line(self) -> dict[str, Any]:
        return published_line(self.unit_name, self.digest, self.source, self.on)

    @property
    def is_settled(self) -> bool:
        """Whether an earlier try has already reached this deed's end."""
        return self.state in FINAL[self.deed]

    @property
    def may_have_arrived(self) -> bool:
        """Whether the channel must be asked before anything is sent."""
        return self.in_doubt or self.state in (PublicationState.ACCEPTED, PublicationState.UNKNOWN)


class SeenPost(Value):
    """Something that is public on a channel, whoever put it there.

    Args:
        reference: The platform's own id of it, as a receipt would give it.
        at: When it went up, where the platform says so.
        mark: What it says of itself, by which one of ours is known.
    """

    reference: str
    url: str = ""
    at: Moment | None = None
    mark: str = ""


class PatrolTurn(Value):
    """What one patrol is asked to do; `most` publications are read, the next one goes on."""

    most: int = 200


class PatrolResult(Value):
    """What one patrol did: publications read, drifts and uncovered posts found."""

    read: int = 0
    unread: int = 0
    drifted: int = 0
    uncovered: int = 0


class PublicationRef(Value):
    """Which publication a workflow or activity is about; `looks` counts confirmations asked."""

    submission_id: str
    channel: str
    generation: int
    looks: int = 0


class PublicationOutcome(Value):
    """How a try ended. `refused`: the gate was closed and nothing was sent; `detail` says why.

    `wait_seconds` is set when the platform has accepted and is to be asked again. `queue` is set
    when nothing was done, because the platform's own task queue is where it is done.
    """

    state: PublicationState | Literal["refused"]
    wait_seconds: float | None = None
    detail: str = ""
    queue: str = ""
