"""An upload's way: examined and screened in memory, kept on the disk, written down, in that order.

A stop leaves what every stop leaves, and nothing of the file (R1.3-4).
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlmodel import Session

from review.acts import attaching
from review.acts.stopping import shown
from review.blobs import Blobs, digest_of
from review.records.people import Person
from review.rules.errors import LedgerUnavailableError
from review.rules.screening import Finding
from review.uploads import Cleaned, examined

Json = dict[str, Any]


class Uploaded:
    """One upload under way.

    Args:
        content: All of it, as it came.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.cleaned: Cleaned = examined(name, content)
        self.request = attaching.Upload(name=self.cleaned.name, original_sha256=digest_of(content))
        self.findings: tuple[Finding, ...] = attaching.stops_in(self.cleaned)
        self._sha256 = ""

    @classmethod
    async def examine(cls, name: str, content: bytes) -> "Uploaded":
        """Examine it beside the event loop."""
        return await asyncio.to_thread(cls, name, content)

    @property
    def stops(self) -> tuple[Finding, ...]:
        """Return what keeps it from being stored."""
        return tuple(one for one in self.findings if one.severity == "stop")

    def screen(self, session: Session, now: datetime) -> None:
        """Screen it by the lists in force as well."""
        self.findings = attaching.findings_in(session, self.cleaned, now)

    def keep(self, blobs: Blobs) -> None:
        """Keep its bytes; only what nothing stops comes here.

        Raises:
            LedgerUnavailableError: The disk does not take it.
        """
        assert not self.stops, "a stopped upload reaches no disk"
        try:
            self._sha256 = blobs.put(self.cleaned.content)
        except OSError:
            raise LedgerUnavailableError from None

    def act(self, way_in: str) -> Callable[[Session, Person, datetime], Json]:
        """Return the act that writes it down."""

        def attach(session: Session, who: Person, now: datetime) -> Json:
            return attaching.attach(
                session, who, self.cleaned, sha256=self._sha256,
                original_sha256=self.request.original_sha256, findings=shown(self.findings),
                way_in=way_in, now=now,
            )  # fmt: skip

        return attach
