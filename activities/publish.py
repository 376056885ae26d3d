"""Put an authorised item on one channel, or take it down: claim, send, record.

The claim is the last door of the review (R1.3-2): what it refuses is not sent. A send whose end
is not known is looked up; nothing is ever sent again blindly.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.channels import Channel, channel_for
from activities.links import Links
from review.acts import publishing
from review.blobs import Blobs
from review.records.checkpoints import Watch
from review.rendering import exceeds, render_claim
from review.rules.errors import NotFoundError, RefusedError
from review.rules.publications import Claim, PublicationOutcome, PublicationRef, Receipt
from review.rules.values import PublicationState

T = TypeVar("T")
log = structlog.get_logger()

# When an accepting platform is asked again; platforms review within minutes as a rule. After the
# last look, four hours on, a person resolves it: unknown is a result (design, principle 5).
CONFIRM_AFTER_SECONDS = (5, 15, 60, 300, 900, 1800, 3600, 7200)
STAGES = 5  # steps of one send that a channel may ask for in a row, such as draft and submission
LATER_SECONDS = 60.0
BEAT_SECONDS = 1.0  # well under the workflow's heartbeat timeout: a killed worker shows in seconds


class Ledger(Protocol):
    """Runs an act in one write transaction of the ledger, and reads it beside those who write."""

    async def run(self, act: Callable[..., T], *args: Any) -> T: ...

    async def read(self, look: Callable[..., T], *args: Any) -> T: ...


class Publisher:
    """Tries one publication; safe to be tried again at any point.

    Args:
        ledger: Where claims are made and receipts kept.
        channels: By platform.
        clock: The moment, aware.
        fault: Told each point where a crash could fall (`after_claim`, `after_send`,
            `before_record`), so that a drill can make it fall there.
        confirm_after: Seconds to wait before each question to a platform that has accepted.
        watch: Knows the last checkpoint: on a ledger older than it nothing is published.
        blobs: Where attachments are kept; without it nothing that has any is published.
        elsewhere: Task queues by platform, for what is published there and not by this publisher:
            the engine keeps their pace for all workers together.
        links: Looks whether a service's links lead anywhere; without it nobody looks.
    """

    def __init__(
        self,
        ledger: Ledger,
        channels: Mapping[str, Channel],
        clock: Callable[[], datetime],
        fault: Callable[[str], None] | None = None,
        confirm_after: Sequence[float] = CONFIRM_AFTER_SECONDS,
        watch: Watch | None = None,
        blobs: Blobs | None = None,
        elsewhere: Mapping[str, str] | None = None,
        links: Links | None = None,
    ) -> None:
        self._ledger = ledger
        self._channels = channels
        self._clock = clock
        self._fault = fault or (lambda _point: None)
        self._confirm_after = tuple(confirm_after)
        self._watch = watch
        self._blobs = blobs
        self._elsewhere = elsewhere or {}
        self._links = links

    @activity.defn(name="publish")
    async def publish(self, ref: PublicationRef) -> PublicationOutcome:
        """Do what the ledger wants of this publication, once, and record what the channel said.

        Raises:
            ApplicationError: type GateClosed, not retried: the ledger refuses; the message is
                the refusal's code. Type UnknownPlatform, not retried: no such channel; recorded
                as failed. Type ChannelFailed, retried: the channel raised, and holds nothing.
                Type TryLater, retried when the channel said: it took nothing, over a quota say.
            LedgerUnavailableError: Retried; publishing stays closed meanwhile.

        Source: R1.3-2, R1.3-6, A-24.
        """
        async with _beating():
            if queue := await self._queue_of(ref):
                return PublicationOutcome(state=PublicationState.SUBMITTED, queue=queue)
            dead = await self._dead_links(ref)
            for _ in range(STAGES):
                outcome = await self._once(ref, dead)
                if outcome.state is not PublicationState.SUBMITTED:
                    return outcome
                if outcome.wait_seconds:
                    break
            raise ApplicationError(
                outcome.detail,
                type="TryLater",
                next_retry_delay=timedelta(seconds=outcome.wait_seconds or LATER_SECONDS),
            )

    async def _queue_of(self, ref: PublicationRef) -> str:
        if not self._elsewhere:
            return ""
        platform = await self._ledger.read(publishing.platform_of, ref.channel)
        return self._elsewhere.get(platform, "")

    async def _once(self, ref: PublicationRef, dead: Sequence[str]) -> PublicationOutcome:
        """Claim, send or look, record: each stage of a send passes the gate anew."""
        claim = await self._claim(ref, dead)
        self._fault("after_claim")
        if claim.is_settled:  # an earlier try's completion got lost on its way to the engine
            return PublicationOutcome(state=claim.state)
        try:
            channel = channel_for(self._channels, claim.platform)
        except ApplicationError:
            await self._record(claim, _failed("publication.unknown_platform"))
            raise
        receipt = self._patient(await self._settle(claim, channel), ref)
        self._fault("before_record")
        await self._record(claim, receipt)
        return self._outcome(receipt, ref)

    async def _dead_links(self, ref: PublicationRef) -> list[str]:
        """Return which addresses of a service's text lead nowhere any more (R1.2-1)."""
        if self._links is None:
            return []
        addresses = await self._ledger.read(
            publishing.links_to_check, ref.submission_id, ref.channel
        )
        return await self._links.dead(addresses)

    async def _claim(self, ref: PublicationRef, dead: Sequence[str]) -> Claim:
        try:
            return await self._ledger.run(
                publishing.claim,
                ref.submission_id,
                ref.channel,
                ref.generation,
                self._clock(),
                self._watch,
                dead,
            )
        except (RefusedError, NotFoundError) as refusal:
            why = [str(code) for code in refusal.params.get("why", [refusal.code])]
            log.error("publication_refused", **_ids(ref), code=refusal.code, why=why)
            # The refused transaction is undone, so the alarm needs one of its own.
            await self._ledger.run(
                publishing.refuse, ref.submission_id, ref.channel, why, self._clock(), dead
            )
            raise ApplicationError(refusal.code, type="GateClosed", non_retryable=True) from refusal

    async def _record(self, claim: Claim, receipt: Receipt) -> None:
        await self._ledger.run(
            publishing.finish, claim.publication_id, claim.attempt_no, receipt, self._clock()
        )
        log.info(
            "publication_tried",
            **_ids(claim),
            deed=claim.deed,
            attempt_no=claim.attempt_no,
            state=receipt.state.value,
            detail=receipt.detail,
        )

    async def _settle(self, claim: Claim, channel: Channel) -> Receipt:
        """Ask first where something may have arrived; send only what surely has not."""
        if claim.may_have_arrived:
            with _text_kept_back(claim):
                found = await channel.lookup(claim)
            if found is not None and _answers(found, claim):
                return found
            if claim.state is PublicationState.ACCEPTED and claim.deed == "publish":
                return _failed("publication.dropped")
        if not claim.may_send:
            return _failed("publication.gate_closed")
        return await self._send(claim, channel)

    async def _send(self, claim: Claim, channel: Channel) -> Receipt:
        rendered = None
        if claim.deed == "publish":
            rendered = await asyncio.to_thread(render_claim, claim)
            if rendered.digest != claim.rendered_digest:
                return _failed("publication.rendered_differs")
            if too_much := exceeds(claim.platform, rendered.content):
                return _failed(too_much)
            if wrong := await asyncio.to_thread(self._wrong_attachments, claim):
                log.error("attachments_wrong", **_ids(claim), why=wrong)
                await self._ledger.run(
                    publishing.refuse, claim.submission_id, claim.channel, wrong, self._clock()
                )
                return _failed("publication.attachment_missing")
        with _text_kept_back(claim):
            try:
                if rendered is None:
                    receipt = await channel.retract(claim, self._clock())
                elif claim.correction_of:
                    receipt = await channel.correct(claim, rendered, self._clock())
                else:
                    receipt = await channel.publish(claim, rendered, self._clock())
            except Exception:
                # It may have arrived. If the channel surely has nothing the error goes on and
                # the next try begins with a look, because this attempt was never closed.
                found = await channel.lookup(claim)
                if found is None or not _answers(found, claim):
                    raise
                receipt = found
        self._fault("after_send")
        return receipt

    def _wrong_attachments(self, claim: Claim) -> list[str]:
        """Return why the files on disk are not those that were reviewed: every byte is read."""
        digests = [str(one.get("sha256", "")) for one in claim.attachments]
        if digests and self._blobs is None:
            return ["attachment_missing"]
        problems = self._blobs.problems(digests) if self._blobs else {}
        return sorted({f"attachment_{what}" for what in problems.values()})

    def _patient(self, receipt: Receipt, ref: PublicationRef) -> Receipt:
        """Return the receipt, or unknown when the platform has been asked often enough."""
        if receipt.state is not PublicationState.ACCEPTED or ref.looks < len(self._confirm_after):
            return receipt
        overdue = {"state": PublicationState.UNKNOWN, "detail": "publication.confirmation_overdue"}
        return receipt.model_copy(update=overdue)

    def _outcome(self, receipt: Receipt, ref: PublicationRef) -> PublicationOutcome:
        wait: float | None = None
        if receipt.state is PublicationState.ACCEPTED:
            wait = self._confirm_after[ref.looks]
        elif receipt.state is PublicationState.SUBMITTED:
            wait = receipt.wait_seconds
        return PublicationOutcome(
            state=receipt.state,
            wait_seconds=wait,
            detail=receipt.detail,
        )


def _answers(found: Receipt, claim: Claim) -> bool:
    """Tell whether what the channel holds ends this deed's uncertainty."""
    if claim.deed == "publish":
        return True
    return found.state in (PublicationState.RETRACTED, PublicationState.UNKNOWN)


def _failed(detail: str) -> Receipt:
    return Receipt(state=PublicationState.FAILED, detail=detail)


def _ids(of: PublicationRef | Claim) -> dict[str, Any]:
    return {
        "submission_id": of.submission_id,
        "channel": of.channel,
        "generation": of.generation,
    }


@contextmanager
def _text_kept_back(claim: Claim) -> Iterator[None]:
    """Let a channel's error through without its words, which may quote the item's text."""
    try:
        yield
    except ApplicationError:
        raise
    except Exception as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
        message = f"{claim.platform}: {type(error).__name__} {reason}".rstrip()
        raise ApplicationError(message, type="ChannelFailed") from None


@asynccontextmanager
async def _beating() -> AsyncIterator[None]:
    """Tell the engine that this worker lives; a dead one is replaced within the timeout."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            activity.heartbeat()

    beats = asyncio.create_task(beat())
    try:
        yield
    finally:
        beats.cancel()
        with suppress(asyncio.CancelledError):
            await beats
