"""Whether the links of a service still lead anywhere, before it goes live (R1.2-1)."""

import asyncio
from collections.abc import Sequence

import httpx
import structlog

from activities.outgoing import AddressRefusedError, NotSentError, Outgoing

log = structlog.get_logger()

PATIENCE = 10.0  # seconds for all links of an item together
GONE = (404, 410)
AT_ONCE = 4


class Links:
    """Looks at pages as any reader would; only what surely is gone counts as dead.

    A page that can't be reached from here, such as from a network without a way out, says nothing
    about what readers see, so it holds nothing up.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def dead(self, addresses: Sequence[str]) -> list[str]:
        """Return those addresses whose server says that there is no such page."""
        if not addresses:
            return []
        turns = asyncio.Semaphore(AT_ONCE)
        tasks = {one: asyncio.create_task(self._is_gone(one, turns)) for one in addresses}
        done, late = await asyncio.wait(tasks.values(), timeout=PATIENCE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        gone = [one for one, task in tasks.items() if task in done and task.result()]
        log.info("links_checked", links=len(addresses), dead=len(gone), unanswered=len(late))
        return gone

    async def _is_gone(self, address: str, turns: asyncio.Semaphore) -> bool:
        async with turns:
            try:
                answer = await self._outgoing.request("GET", address)
            except (AddressRefusedError, NotSentError, httpx.HTTPError, httpx.InvalidURL):
                return False
        return answer.status in GONE
