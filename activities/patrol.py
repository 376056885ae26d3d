"""Read the channels again: what was published, and what nobody authorised (R5.3-2, R5.3-4)."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog
from temporalio import activity

from activities.channels import Channel, Readable
from activities.outgoing import NotConnectedError
from review.acts import watching
from review.records.engine import Ledger
from review.rendering import render_claim, visible_text
from review.rules.errors import LedgerUnavailableError
from review.rules.publications import Claim, PatrolResult, PatrolTurn

log = structlog.get_logger()


class Patroller:
    """Looks; safe to be repeated at any point, for each find is told once."""

    def __init__(
        self, ledger: Ledger, channels: Mapping[str, Channel], clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._channels = {
            platform: channel
            for platform, channel in channels.items()
            if isinstance(channel, Readable)
        }
        self._clock = clock

    @activity.defn(name="patrol")
    async def patrol(self, turn: PatrolTurn) -> PatrolResult:
        """Read what is due, list what is there, tell what has been silent for too long.

        A channel that can't be read now is left for the next patrol; the result counts it.
        """
        platforms = sorted(self._channels)
        due = await self._ledger.run(watching.due_looks, platforms, self._clock(), turn.most)
        unread = drifted = 0
        for claim in due:
            activity.heartbeat()
            found = await self._look(claim)
            unread += found == "unread"
            drifted += await self._ledger.run(
                watching.looked, claim.publication_id, found, self._clock()
            )
        uncovered = 0
        for channel, platform in await self._ledger.read(watching.readable_channels, platforms):
            activity.heartbeat()
            uncovered += await self._list(channel, platform)
        await self._ledger.run(watching.tell_silence, self._clock())
        if drifted or uncovered:
            log.error("channels_drifted", drifted=drifted, uncovered=uncovered)
        return PatrolResult(read=len(due), unread=unread, drifted=drifted, uncovered=uncovered)

    async def _look(self, claim: Claim) -> watching.Found:
        try:
            seen = await self._channels[claim.platform].read(claim)
        except Exception as error:  # a platform may fail in any way; the next look asks again
            log.warning("channel_unread", channel=claim.channel, reason=type(error).__name__)
            return "unread"
        if seen is None:
            return "gone"
        rendered = await asyncio.to_thread(render_claim, claim)
        if seen.content == rendered.content:
            return "same"
        if seen.is_exact:
            return "differs"
        texts = (
            visible_text(one.decode("utf-8", "replace")) for one in (seen.content, rendered.content)
        )
        return "same" if next(texts) == next(texts) else "differs"

    async def _list(self, channel: str, platform: str) -> int:
        try:
            posts = await self._channels[platform].posts(channel)
        except (LedgerUnavailableError, NotConnectedError):
            return 0
        except Exception as error:
            log.warning("channel_unread", channel=channel, reason=type(error).__name__)
            return 0
        fresh = await self._ledger.read(watching.uncovered, channel, posts)
        for post in fresh:
            await self._ledger.run(watching.tell_uncovered, channel, post, self._clock())
        return len(fresh)
