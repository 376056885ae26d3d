"""Claims for tests, a ledger that keeps one publication, and a platform that can misbehave."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from review.rendering import Rendered, render_claim
from review.rules.errors import RefusedError
from review.rules.publications import Claim, Receipt
from review.rules.values import PublicationState

MONDAY_9AM = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
TITLE = "全省秋冬季森林草原防火工作会议召开"
BODY = "会议要求，各地压实责任。"


def a_claim(**changes: Any) -> Claim:
    """Return a valid claim on the site; its rendered digest fits unless it is given."""
    values: dict[str, Any] = {
        "publication_id": "p1",
        "submission_id": "s1",
        "number": "2026-000123",
        "channel": "site",
        "platform": "website",
        "generation": 1,
        "digest": "sha256:" + "ab" * 32,
        "rendered_digest": "",
        "title": TITLE,
        "body": BODY,
        "unit_name": "宣传中心",
    } | changes
    claim = Claim(**values)
    if "rendered_digest" in changes:
        return claim
    return claim.model_copy(update={"rendered_digest": render_claim(claim).digest})


class OnePublication:
    """A ledger boundary that keeps one publication and its attempts as the real one does."""

    def __init__(self, claim: Claim, refuses: str = "") -> None:
        self.claim = claim
        self.refuses = refuses
        self.alarms: list[list[str]] = []
        self.receipts: list[Receipt] = []
        self.open_attempts: list[int] = []
        self._attempts = 0

    async def read(self, look: Callable[..., Any], *args: Any) -> Any:
        return look(None, *args)

    async def run(self, act: Callable[..., Any], *args: Any) -> Any:
        if act.__name__ == "claim":
            return self._claim()
        if act.__name__ == "refuse":
            self.alarms.append(args[2])
            return None
        assert act.__name__ == "finish"
        return self._finish(*args)

    def _claim(self) -> Claim:
        if self.refuses:
            raise RefusedError("gate_closed", why=[self.refuses])
        if self.claim.is_settled:
            return self.claim
        self._attempts += 1
        claim = self.claim.model_copy(
            update={"attempt_no": self._attempts, "in_doubt": bool(self.open_attempts)}
        )
        self.open_attempts.append(self._attempts)
        return claim

    def _finish(
        self, publication_id: str, attempt_no: int, receipt: Receipt, now: datetime
    ) -> None:
        assert publication_id == self.claim.publication_id
        assert now.tzinfo is not None
        assert attempt_no in self.open_attempts
        self.open_attempts.clear()
        self.receipts.append(receipt)
        self.claim = self.claim.model_copy(
            update={"state": receipt.state, "reference": receipt.reference}
        )


class FakePlatform:
    """Keeps what it gets.

    Args:
        answer: What a send and a look say once something has arrived.
        later: What a look says instead.
        breaks: Raise after the item has arrived.
        loses: Raise before it has; so many times.
    """

    def __init__(
        self,
        answer: PublicationState = PublicationState.LIVE,
        later: PublicationState | None = None,
        breaks: bool = False,
        loses: int = 0,
    ) -> None:
        self.sent: list[str] = []
        self.retracted: list[str] = []
        self.looks = 0
        self._answer = answer
        self._later = later or answer
        self._breaks = breaks
        self._loses = loses

    async def publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        if self._loses:
            self._loses -= 1
            raise ConnectionRefusedError(111, f"no way for {claim.title}")
        self.sent.append(claim.key)
        if self._breaks:
            raise TimeoutError(f"no answer about {claim.title}")
        return Receipt(state=self._answer, reference="job-1")

    correct = publish

    async def retract(self, claim: Claim, at: datetime) -> Receipt:
        self.retracted.append(claim.key)
        return Receipt(state=PublicationState.RETRACTED)

    async def lookup(self, claim: Claim) -> Receipt | None:
        self.looks += 1
        if claim.key in self.retracted:
            return Receipt(state=PublicationState.RETRACTED)
        return Receipt(state=self._later) if claim.key in self.sent else None
