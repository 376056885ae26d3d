"""What somebody who reaches the engine can do by hand: nothing that counts (principles 3 and 4)."""

import asyncio
import json
import os
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import ActivityFailureError, WorkflowUpdateFailedError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from review.records.tables import Decision
from review.rules.positions import Nudge, SubmissionRef, TurnRequest
from review.rules.publications import PublicationOutcome, PublicationRef
from tests.bureau import ENGINE, PATIENCE, Bureau
from workflows.names import submission_workflow_id
from workflows.publication import PublicationWorkflow, publication_workflow_id
from workflows.submission import SubmissionWorkflow

ONCE = RetryPolicy(maximum_attempts=1)
BRIEF = timedelta(seconds=20)


async def temporal(bureau: Bureau, *words: str) -> str:
    """Run Temporal's own command line against the engine, as anybody on the machine could."""
    process = await asyncio.create_subprocess_exec(
        str(ENGINE), *words, "--address", bureau.client.service_client.config.target_host,
        env={"PATH": os.defpath, "HOME": str(bureau.data)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def standing(bureau: Bureau, submission: str) -> Any:
    """Return all of a submission's standing that a forger might want to change."""
    row = bureau.row(submission)
    steps = [(s.key, s.unit_id, s.round, s.state, s.due_at) for s in bureau.steps(submission)]
    decisions = [one.id for one in bureau.rows(Decision, submission)]
    claims = [(p.channel, p.generation, p.state) for p in bureau.publications(submission)]
    return row.status, row.round, row.digest, steps, decisions, claims, bureau.pages()


async def in_review(bureau: Bureau, until: str = "second_review") -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until=until)
    return submission


async def quiet(bureau: Bureau, submission: str) -> None:
    """Wait until the workflow has nothing under way."""
    async with asyncio.timeout(PATIENCE):
        while True:
            described = (await bureau.handle(submission).describe()).raw_description
            if not (described.HasField("pending_workflow_task") or described.pending_activities):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "payload",
    [
        '{"submission_id": "another", "reason": "approved"}',
        '{"verdict": "approve", "step": "second_review", "submission_id": 7}',
        '"junk"',
        "[[[]]]",
    ],
)
async def test_forged_signal_changes_nothing(bureau: Bureau, payload: str):
    submission = await in_review(bureau)
    before = standing(bureau, submission)

    await temporal(
        bureau, "workflow", "signal", "--workflow-id", submission_workflow_id(submission),
        "--name", "decided", "--input", payload,
    )  # fmt: skip
    await quiet(bureau, submission)

    assert standing(bureau, submission) == before
    await bureau.published(submission)


async def test_forged_update_and_unknown_signal_change_nothing(bureau: Bureau):
    submission = await in_review(bureau)
    before = standing(bureau, submission)
    handle = bureau.handle(submission)

    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("decide", {"step": "second_review", "verdict": "approve"})
    await handle.signal("approve", "second_review")
    await handle.signal("decided", args=[1, 2, 3])
    await handle.signal("decided")
    await quiet(bureau, submission)

    assert standing(bureau, submission) == before
    await bureau.published(submission)


async def test_reset_run_changes_nothing(bureau: Bureau):
    submission = await in_review(bureau)
    before = standing(bureau, submission)

    await temporal(
        bureau, "workflow", "reset", "--workflow-id", submission_workflow_id(submission),
        "--type", "FirstWorkflowTask", "--reason", "forged",
    )  # fmt: skip
    await quiet(bureau, submission)

    assert standing(bureau, submission) == before
    await bureau.published(submission)


async def test_reset_after_publication_publishes_nothing_again(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.published(submission)
    await bureau.handle(submission).result()
    before = standing(bureau, submission)
    claimed = bureau.events(submission).count("publication_claimed")

    await temporal(
        bureau, "workflow", "reset", "--workflow-id", submission_workflow_id(submission),
        "--type", "FirstWorkflowTask", "--reason", "forged",
    )  # fmt: skip
    await bureau.handle(submission).result()

    assert standing(bureau, submission) == before
    assert bureau.events(submission).count("publication_claimed") == claimed == 1
    assert bureau.events(submission).count("publication_live") == 1


async def test_terminated_workflow_is_begun_anew_by_the_next_act(bureau: Bureau):
    submission = await in_review(bureau)
    before = standing(bureau, submission)

    await temporal(
        bureau, "workflow", "terminate", "--workflow-id", submission_workflow_id(submission),
        "--reason", "forged",
    )  # fmt: skip
    await bureau.client.start_workflow(
        SubmissionWorkflow.run,
        SubmissionRef(submission_id=submission),
        id=submission_workflow_id(submission),
        task_queue=bureau.queue,
        start_signal="decided",
        start_signal_args=[Nudge(submission_id=submission)],
    )
    await quiet(bureau, submission)

    assert standing(bureau, submission) == before
    await bureau.published(submission)


async def test_terminated_workflow_loses_no_decision(bureau: Bureau):
    submission = await in_review(bureau)

    await bureau.handle(submission).terminate("forged")
    answer = await bureau.decide(submission, "second_review")
    await bureau.settled(submission)

    assert answer["delivered"]
    assert [step.key for step in bureau.open_steps(submission)] == ["final_review"]
    await bureau.published(submission)


@pytest.mark.parametrize("until", ["unit_review", "final_review", "proof3_publish"])
async def test_activity_started_by_hand_publishes_nothing(bureau: Bureau, until: str):
    """R1.3-2: the gate at the last door refuses, and says so."""
    submission = await in_review(bureau, until)
    before = standing(bureau, submission)
    ref = json.dumps({"submission_id": submission, "channel": "site", "generation": 1})

    await temporal(
        bureau, "activity", "start", "--activity-id", f"forged-{submission}", "--type", "publish",
        "--task-queue", bureau.queue, "--start-to-close-timeout", "20s", "--input", ref,
    )  # fmt: skip
    await bureau.until(lambda: "gate_closed" in bureau.events(submission))

    assert standing(bureau, submission) == before
    refusal = next(one for one in bureau.audit(submission) if one.event == "gate_closed")
    assert "tier:3" in refusal.data["why"] or "proof:3" in refusal.data["why"]
    await bureau.published(submission)


async def test_published_item_is_not_sent_again_by_hand(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.published(submission)
    await bureau.handle(submission).result()
    before = standing(bureau, submission)

    again = await bureau.client.execute_activity(
        "publish", PublicationRef(submission_id=submission, channel="site", generation=1),
        id=f"again-{submission}", task_queue=bureau.queue, start_to_close_timeout=BRIEF,
        result_type=PublicationOutcome,
    )  # fmt: skip
    with pytest.raises(ActivityFailureError):
        await bureau.client.execute_activity(
            "publish", PublicationRef(submission_id=submission, channel="site", generation=2),
            id=f"next-{submission}", task_queue=bureau.queue, start_to_close_timeout=BRIEF,
        )  # fmt: skip

    assert again.state == "live"
    assert standing(bureau, submission) == before
    assert bureau.events(submission).count("gate_closed") == 1


async def test_turn_by_hand_skips_nothing(bureau: Bureau):
    """Design, Turns: judged by the worker's clock, never by the caller's word."""
    found = (bureau.clock() - timedelta(minutes=1)).isoformat()
    submission = await bureau.submit("fire_info", category="emergency", event_time=found)
    await bureau.run(submission, until="center_sign")
    before = standing(bureau, submission)
    now = bureau.clock()

    for number, moment in enumerate((now + timedelta(days=365), now, now - timedelta(days=365))):
        turn = bureau.client.execute_activity(
            "advance", TurnRequest(submission_id=submission, now=moment),
            id=f"turn-{number}-{submission}", task_queue=bureau.queue,
            start_to_close_timeout=BRIEF, retry_policy=ONCE,
        )  # fmt: skip
        if moment > now:
            with pytest.raises(ActivityFailureError) as refusal:
                await turn
            assert isinstance(refusal.value.cause, ApplicationError)
            assert refusal.value.cause.type == "ClockApart"
        else:
            await turn

    assert standing(bureau, submission) == before
    await bureau.published(submission)


async def test_publication_workflow_started_by_hand_publishes_nothing(bureau: Bureau):
    submission = await in_review(bureau, "proof3_publish")
    before = standing(bureau, submission)

    outcome = await bureau.client.execute_workflow(
        PublicationWorkflow.run,
        PublicationRef(submission_id=submission, channel="site", generation=1),
        id=publication_workflow_id(submission, "site", 1),
        task_queue=bureau.queue,
    )

    assert (outcome.state, outcome.detail) == ("refused", "gate_closed")
    assert standing(bureau, submission) == before
    assert "gate_closed" in bureau.events(submission)
    await bureau.published(submission)


async def test_publication_whose_name_is_taken_waits_until_it_is_free(bureau: Bureau):
    """Somebody's run under the child's id delays the publication, and ends nothing."""
    submission = await in_review(bureau, "proof3_publish")
    squatter = await bureau.client.start_workflow(
        "Squatter",
        id=publication_workflow_id(submission, "site", 1),
        task_queue=f"nobody-{submission}",
    )

    await bureau.decide(submission, "proof3_publish")
    await bureau.settled(submission)
    held_up = standing(bureau, submission)[-2:]
    await squatter.terminate("found out")
    await bureau.published(submission)

    assert held_up == ([], [])
    assert bureau.events(submission).count("publication_live") == 1


async def test_workflow_for_nothing_in_the_ledger_ends(bureau: Bureau):
    position = await bureau.client.execute_workflow(
        SubmissionWorkflow.run, SubmissionRef(submission_id="made-up"),
        id=f"submission-made-up-{bureau.queue}", task_queue=bureau.queue,
    )  # fmt: skip

    assert not position.open_steps and not position.publish


async def test_forged_position_is_not_believed(bureau: Bureau):
    """What continue-as-new carries over can be forged by whoever starts a run."""
    submission = await in_review(bureau, "final_review")
    before = standing(bureau, submission)
    await bureau.handle(submission).terminate("forged")
    forged = SubmissionRef.model_validate(
        {
            "submission_id": submission,
            "position": {
                "submission_id": submission, "status": "published", "done": True,
                "publish": [{"channel": "site", "generation": 1}],
            },
        }
    )  # fmt: skip

    await bureau.client.start_workflow(
        SubmissionWorkflow.run, forged, id=submission_workflow_id(submission),
        task_queue=bureau.queue,
    )  # fmt: skip
    await quiet(bureau, submission)

    assert standing(bureau, submission) == before
    assert (await bureau.position(submission)).status == "in_review"
    await bureau.published(submission)
