"""What changed in the ledger, told as it happens: a number that grows, and nothing else.

One process asks the ledger for all its readers together; a page that hears of a change fetches its
own part anew, so whoever may not see something doesn't.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from review.acts.overseeing import require_overseer
from review.rules.errors import LedgerUnavailableError, TooManyError
from starter.web.dependencies import access_of
from starter.web.pages.visitors import VisitorDep

router = APIRouter(include_in_schema=False)

EVERY = 2.0  # seconds between two looks at the ledger
HEARTBEAT = 15.0  # seconds; proxies close what is silent, and an ended session must not hear more
LONGEST = 40  # heartbeats; then the browser comes again and proves anew who it is
MOST = 200  # readers a process

Number = int | None  # None: the process stops


class Pulse:
    """Looks at the ledger while anybody listens, and tells everybody what it saw."""

    def __init__(self, read: Callable[[], Awaitable[int]], stopping: Callable[[], bool]) -> None:
        self._read = read
        self._stopping = stopping
        self._listeners: set[asyncio.Queue[Number]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._last = 0

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Number]]:
        """Give a queue that holds the newest number, or nothing new.

        Raises:
            TooManyError: More readers than one process serves.
        """
        if len(self._listeners) >= MOST:
            raise TooManyError
        queue: asyncio.Queue[Number] = asyncio.Queue(maxsize=1)
        self._listeners.add(queue)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        elif self._last:
            _put(queue, self._last)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking, self._last = None, 0

    async def _look(self) -> None:
        while not self._stopping():
            try:
                number = await self._read()
            except LedgerUnavailableError:
                number = self._last
            if number != self._last:
                self._last = number
                self._tell(number)
            await asyncio.sleep(EVERY)
        self._tell(None)

    def _tell(self, number: Number) -> None:
        for queue in self._listeners:
            _put(queue, number)


def _put(queue: asyncio.Queue[Number], number: Number) -> None:
    """Put the newest in place of what nobody took yet."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(number)


@router.get("/events")
async def events(request: Request, visitor: VisitorDep) -> Response:
    """Tell those who oversee whenever the ledger changed."""
    require_overseer(visitor.person)
    pulse: Pulse = request.app.state.pulse
    headers = {"X-Accel-Buffering": "no"}
    told = _told(request, pulse, visitor.session)
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)


async def _told(request: Request, pulse: Pulse, secret: str) -> AsyncIterator[str]:
    is_open = access_of(request).is_open
    try:
        with pulse.listening() as queue:
            yield "retry: 3000\n\n"
            for _ in range(LONGEST):
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        while (number := await queue.get()) is not None:
                            yield f"event: changed\ndata: {number}\n\n"
                        return
                except TimeoutError:
                    if not await asyncio.to_thread(is_open, secret):
                        return
                    yield ": here\n\n"
    except TooManyError:
        yield "retry: 60000\n\n"
    except LedgerUnavailableError:
        return
