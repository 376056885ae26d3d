"""Every refusal leaves an entry in the trace: one each for those we know, a sum for strangers.

What somebody signed in is refused is written down at once. Strangers could fill a disk that way, so
of them, and of failed sign-ins, only how many there were of each kind is written, once a minute.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlmodel import Session

from review.records import audit
from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError, RuleError

log = structlog.get_logger()

NOTED = frozenset({403, 404, 409})
COUNTED = frozenset({401, 403, 429})
EVERY = 60.0  # seconds
MOST_KINDS = 1_000  # counted apart in a minute; what comes beyond is counted together
CODE = re.compile(r"[a-z0-9_:.]{1,60}")


class TurnedAway:
    """Writes refusals down.

    Args:
        ledger: Whose trace it is.
        clock: The moment, aware.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._counted: Counter[tuple[str, str, str]] = Counter()

    async def remember(
        self, error: RuleError, what: str, person_id: str = "", way_in: str = ""
    ) -> None:
        """Write down one refusal that nobody has written down yet.

        Args:
            what: The route's own pattern, never an address that a caller made up.
            person_id: Who was refused; empty for a stranger.
        """
        if error.remembered:
            return
        error.remembered = True
        why = error.params.get("why")
        code = f"{error.code}:{why}" if isinstance(why, str) and CODE.fullmatch(why) else error.code
        if not person_id:
            if error.status in COUNTED:
                self.count(what, code)
            return
        if error.status not in NOTED:
            return

        def write(session: Session) -> None:
            audit.append(
                session, audit.BUREAU, "refused", at=self._clock(), person_id=person_id,
                way_in=way_in, data={"what": what, "code": code},
            )  # fmt: skip

        try:
            await self._ledger.run(write)
        except LedgerUnavailableError:  # the caller gets the refusal; the sum has the rest
            self.count(what, code, person_id)

    def count(self, what: str, code: str, person_id: str = "") -> None:
        """Count what a stranger was refused, or somebody whose name a stranger gave."""
        key = (what, code, person_id)
        if key not in self._counted and len(self._counted) >= MOST_KINDS:
            key = ("other", "other", "")
        self._counted[key] += 1

    async def flush(self) -> None:
        """Write down the sums since the last time; kept while the ledger is away."""
        counted, self._counted = self._counted, Counter()
        if not counted:
            return

        def write(session: Session) -> None:
            for (what, code, person_id), count in sorted(counted.items()):
                audit.append(
                    session, audit.BUREAU, "turned_away", at=self._clock(), person_id=person_id,
                    way_in="api", data={"what": what, "code": code, "count": count},
                )  # fmt: skip

        try:
            await self._ledger.run(write)
        except LedgerUnavailableError:
            counted.update(self._counted)
            self._counted = counted
            log.warning("refusals_wait_for_ledger", kinds=len(counted))

    async def run(self) -> None:
        """Write the sums down every minute, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()
