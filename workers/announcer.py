"""Tell other systems what concerns them: compare, write down, send; never in a review's way."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from activities.posting import Poster, Sent
from review.acts import announcing
from review.acts.deliveries import forget_deliveries
from review.records.engine import Ledger
from review.records.kept import Box
from review.rules.errors import LedgerUnavailableError
from review.webhooks import Key, headers_for

log = structlog.get_logger()

PAUSE = 0.5  # seconds between two looks at the ledger
FORGET_EVERY = timedelta(hours=1)


class Announcer:
    """Looks at what changed, and keeps each endpoint's messages going without the others'."""

    def __init__(
        self,
        ledger: Ledger,
        poster: Poster,
        box: Box,
        clock: Callable[[], datetime],
        *,
        public_url: str,
    ) -> None:
        self._ledger = ledger
        self._poster = poster
        self._box = box
        self._clock = clock
        self._public_url = public_url
        self._sending: dict[str, asyncio.Task[int]] = {}
        self._forgot_at: datetime | None = None

    async def run(self) -> None:
        """Announce until cancelled; a ledger that is away is only waited for."""
        try:
            while True:
                try:
                    looked_at = await self.announce()
                    await self._start_sending()
                    await self._forget()
                except LedgerUnavailableError:
                    await asyncio.sleep(2)
                    continue
                if not looked_at:
                    await asyncio.sleep(PAUSE)
        finally:
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    async def announce(self) -> int:
        """Write down what is to be told of a few items; returns how many were looked at."""
        if not await self._ledger.read(announcing.anything_to_announce):
            return 0
        return await self._ledger.run(announcing.announce, self._clock(), self._public_url)

    async def send(self, endpoint_id: str) -> int:
        """Send what one endpoint may get now; returns how much of it was taken."""
        due = await self._ledger.run(announcing.take_due, endpoint_id, self._clock())
        sent = await asyncio.gather(*(self._send(post) for post in due))
        return sum(one.taken for one in sent)

    async def _send(self, post: announcing.Due) -> Sent:
        keys = [
            Key("", secret)
            for sealed in post.secrets
            if (secret := self._box.open(sealed, post.endpoint_id)) is not None
        ]
        if keys:
            body = json.dumps(post.payload, ensure_ascii=False, separators=(",", ":")).encode()
            headers = headers_for(post.id, body, keys, self._clock())
            sent = await self._poster.post(post.url, body, headers)
        else:  # sealed with another SECRET_KEY
            sent = Sent(error="secret_unreadable")
        await self._ledger.run(
            lambda session: announcing.settle(
                session,
                post.id,
                post.attempts,
                self._clock(),
                status=sent.status,
                error=sent.error,
                took=sent.took,
                wait=sent.wait,
            )
        )
        if not sent.taken:
            log.warning(
                "hook_refused", endpoint=post.endpoint_id, message=post.id, status=sent.status,
                error=sent.error, attempts=post.attempts,
            )  # fmt: skip
        return sent

    async def _start_sending(self) -> None:
        """Start an endpoint's round unless its last one still runs; one that failed says so."""
        for endpoint_id, task in list(self._sending.items()):
            if task.done():
                del self._sending[endpoint_id]
                task.result()
        for endpoint_id in await self._ledger.read(announcing.endpoints_due, self._clock()):
            if endpoint_id not in self._sending:
                self._sending[endpoint_id] = asyncio.create_task(self.send(endpoint_id))

    async def _forget(self) -> None:
        now = self._clock()
        if self._forgot_at is None or now - self._forgot_at >= FORGET_EVERY:
            self._forgot_at = now
            await self._ledger.run(forget_deliveries, now)
