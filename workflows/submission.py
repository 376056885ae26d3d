"""One submission from its first step to the last word of its last channel."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import (
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributeUpdate,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from activities.advance import Advancer
    from review.rules.positions import ChannelDeed, Position, SubmissionRef, TurnRequest
    from review.rules.publications import PublicationRef
    from workflows.publication import PublicationWorkflow, publication_workflow_id

# A turn is one ledger transaction; one that hangs is given up and taken again.
TURN_TIMEOUT = timedelta(seconds=30)
# No last attempt: the ledger comes back some day, and nothing may be skipped until then.
TURN_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=20),
    maximum_attempts=0,
)
# Waking more often than this would only burn history (design, Waiting).
SHORTEST_WAIT = timedelta(seconds=1)
# A publication that another run has under way is asked about again after this, each time after
# twice as long: it may wait for hours for its platform, and every question is a turn.
ALREADY_RUNNING, STILL_RUNNING = timedelta(seconds=2), timedelta(minutes=5)

STATUS = SearchAttributeKey.for_keyword("SanshenStatus")
OVERDUE = SearchAttributeKey.for_bool("SanshenOverdue")


@workflow.defn
class SubmissionWorkflow:
    """Take a turn, wait for news or for the next milestone, until nothing is left to wait for.

    It is clock and messenger: what counts is settled in the ledger, by the turn's transaction.
    """

    @workflow.init
    def __init__(self, ref: SubmissionRef) -> None:
        self._position = ref.position or Position(submission_id=ref.submission_id)
        self._news = True
        self._timer: asyncio.Task[None] | None = None
        self._timer_at: datetime | None = None
        self._running: dict[tuple[str, int, str], asyncio.Task[None]] = {}
        self._refused: set[tuple[str, int, str]] = set()
        self._met: Counter[tuple[str, int, str]] = Counter()

    @workflow.run
    async def run(self, ref: SubmissionRef) -> Position:
        while True:
            if not await self._turn():
                return self._position
            if self._position.done and not self._news and not self._running:
                return self._position
            if workflow.info().is_continue_as_new_suggested() and not self._running:
                workflow.continue_as_new(
                    SubmissionRef(submission_id=ref.submission_id, position=self._position)
                )
            self._publish()
            await self._news_or_milestone()

    @workflow.signal
    def decided(self, *_nudge: Any) -> None:
        """Something changed in the ledger; what a nudge carries is for people, and never read.

        It takes anything: a forged signal of another shape would otherwise fail this workflow's
        tasks for ever, since it stays in the history.
        """
        self._refused.clear()
        self._news = True

    @workflow.query
    def status(self) -> Position:
        """Where the submission stands, as of the last turn."""
        return self._position

    async def _turn(self) -> bool:
        """Take a turn; False when the ledger doesn't know this submission."""
        self._news = False
        before = self._position
        try:
            self._position = await workflow.execute_activity_method(
                Advancer.advance,
                TurnRequest(submission_id=before.submission_id, now=workflow.now()),
                start_to_close_timeout=TURN_TIMEOUT,
                retry_policy=TURN_RETRIES,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.non_retryable:
                return False
            raise
        updates: list[SearchAttributeUpdate[Any]] = []
        if self._position.status != before.status:
            updates.append(STATUS.value_set(self._position.status))
        if self._position.overdue != before.overdue:
            updates.append(OVERDUE.value_set(self._position.overdue))
        if updates:
            workflow.upsert_search_attributes(updates)
        workflow.set_current_details(self._details())
        return True

    def _publish(self) -> None:
        """Start what the ledger wants sent or taken back, each once at a time."""
        for deed in self._position.publish:
            key = (deed.channel, deed.generation, deed.wanted)
            if key not in self._running and key not in self._refused:
                self._running[key] = asyncio.create_task(self._publication(key, deed))

    async def _publication(self, key: tuple[str, int, str], deed: ChannelDeed) -> None:
        """Run one publication to its end; it outlives this run if it must."""
        submission_id = self._position.submission_id
        try:
            outcome = await workflow.execute_child_workflow(
                PublicationWorkflow.run,
                PublicationRef(
                    submission_id=submission_id, channel=deed.channel, generation=deed.generation
                ),
                id=publication_workflow_id(submission_id, deed.channel, deed.generation),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            )
            if outcome.state == "refused":
                self._refused.add(key)
        except WorkflowAlreadyStartedError:
            if deed.wanted == "retracted":
                await self._hurry(deed)
            wait = min(ALREADY_RUNNING * 2 ** min(self._met[key], 10), STILL_RUNNING)
            self._met[key] += 1
            await workflow.sleep(wait, summary="publication under way")
        except ChildWorkflowError:
            self._refused.add(key)  # ended by hand; the next news tries anew
        del self._running[key]
        self._news = True

    async def _hurry(self, deed: ChannelDeed) -> None:
        """Wake a publication that waits for its platform: it is to be taken back (A-24)."""
        handle = workflow.get_external_workflow_handle_for(
            PublicationWorkflow.run,
            publication_workflow_id(self._position.submission_id, deed.channel, deed.generation),
        )
        try:
            await handle.signal(PublicationWorkflow.changed)
        except ApplicationError:
            return  # it has ended meanwhile

    async def _news_or_milestone(self) -> None:
        """Return on news, or when silence has a consequence; one timer, armed anew lazily."""
        while not self._news:
            self._arm(self._position.next_at)
            await workflow.wait_condition(lambda: self._news or self._rang())
            if not self._rang():
                continue
            self._timer, self._timer_at = None, None
            next_at = self._position.next_at
            if next_at is not None and next_at <= workflow.now():
                return

    def _arm(self, next_at: datetime | None) -> None:
        """Keep one timer that rings no later than the next milestone."""
        if next_at is None:
            return
        if self._timer is not None and self._timer_at is not None:
            if self._timer_at <= next_at + SHORTEST_WAIT:
                return
            self._timer.cancel()
        wait = max(next_at - workflow.now(), SHORTEST_WAIT)
        self._timer_at = workflow.now() + wait
        self._timer = asyncio.create_task(
            workflow.sleep(wait, summary=self._position.next_mark or None)
        )

    def _rang(self) -> bool:
        return self._timer is not None and self._timer.done()

    def _details(self) -> str:
        """Return what Temporal's own page tells a supervisor: ids and moments only."""
        position = self._position
        lines = [f"**{position.number}** {position.profile} · {position.status}"]
        lines += [
            f"- {step.step}{f' ({step.unit})' if step.unit else ''} round {step.round}: "
            f"{', '.join(step.people) or 'nobody'}, due {step.due_at}"
            for step in position.open_steps
        ]
        if position.next_at:
            lines.append(f"- next: {position.next_mark} at {position.next_at}")
        return "\n".join(lines)
