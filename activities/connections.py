"""What a channel needs to reach its platform, and how installed channels are found."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from activities.channels import Channel, Site
from activities.outgoing import NotConnectedError, Outgoing
from activities.push import Push
from activities.wechat import Wechat
from review.acts.connecting import connection_of
from review.records.engine import Ledger
from review.records.kept import Box
from review.rendering import PUSH, WEBSITE, WECHAT
from review.rules.publications import Connection

GROUP = "sanshen.channels"

Connect = Callable[[str], Awaitable[Connection]]


@dataclass(frozen=True, slots=True)
class Place:
    """What a channel's factory is given.

    Args:
        data: The folder of this place.
        public_url: The web's public address.
        blob: Where the file with a SHA-256 (hex) is kept.
        outgoing: The one way out over HTTP.
        connect: By a channel's id: address, account, secret and options as registered.
        clock: The moment, aware.
    """

    data: Path
    public_url: str
    blob: Callable[[str], Path]
    outgoing: Outgoing
    connect: Connect
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


Factory = Callable[[Place], Channel]


def website(place: Place) -> Channel:
    return Site(place.data / "site", place.public_url, place.blob)


def push(place: Place) -> Channel:
    return Push(place.outgoing, place.connect, place.clock)


def wechat(place: Place) -> Channel:
    return Wechat(place.outgoing, place.connect, place.blob)


# pyproject.toml registers the same; the table serves a place that runs from its source folder.
SHIPPED: Mapping[str, Factory] = {WEBSITE: website, PUSH: push, WECHAT: wechat}


def factories() -> dict[str, Factory]:
    """Return the factories of all installed channels by platform; a unit's own one wins."""
    found: dict[str, Any] = dict(SHIPPED)
    for entry in entry_points(group=GROUP):
        if not entry.value.startswith("activities.connections:"):
            found[entry.name] = entry.load()
    return found


class Connections:
    """Reads how a channel is reached, as registered at this moment.

    Args:
        box: Opens the secrets that the ledger keeps.
        given: Secrets from the settings by channel, which beat them.
    """

    def __init__(self, ledger: Ledger, box: Box, given: Mapping[str, str]) -> None:
        self._ledger = ledger
        self._box = box
        self._given = given

    async def __call__(self, channel: str) -> Connection:
        """Return it.

        Raises:
            NotConnectedError: Nobody registered it.
        """
        found = await self._ledger.read(connection_of, channel, self._box, self._given)
        if found is None:
            raise NotConnectedError(channel)
        return found


def installed(place: Place) -> dict[str, Channel]:
    """Return every installed channel by its platform."""
    return {platform: make(place) for platform, make in factories().items()}
