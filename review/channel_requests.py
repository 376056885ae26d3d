"""What people may ask for of the channel register (账号台账)."""

from datetime import date
from typing import Annotated, Literal

from pydantic import StringConstraints

from review.requests import Ident, Request, Short, Text

ChannelName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
ChannelId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=500)]


class ChannelProposal(Request):
    """An opening, a change or a closing; another person has yet to confirm it (R2.2-1).

    `open` needs name, platform and operator_unit; `change` takes what is to be different;
    `suspend`, `resume` and `close` need a reason alone.
    """

    channel: ChannelId
    deed: Literal["open", "change", "suspend", "resume", "close"]
    reason: Reason
    name: ChannelName | None = None
    platform: ChannelId | None = None
    operator_unit: Ident | None = None
    owner_entity: Short | None = None
    certified_on: date | None = None
    filing_number: Short | None = None
    applied_by_unit: Ident | None = None


class ChannelVerdict(Request):
    """What another person says of a proposal."""

    verdict: Literal["confirm", "reject"]
    note: Text = ""
