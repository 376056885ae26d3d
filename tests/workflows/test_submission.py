"""The course of a submission on the real engine and the real ledger, through `Reviews`."""

from datetime import timedelta
from pathlib import Path

from temporalio.client import WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.worker import Replayer

from review.payloads import converter
from review.records.engine import Ledger
from review.rules.values import PublicationState
from tests.bureau import Bureau, engine
from tests.publications import FakePlatform
from workflows.publication import PublicationWorkflow, publication_workflow_id
from workflows.submission import SubmissionWorkflow

TIERS = ["unit_review", "edit_proof2", "second_review", "final_review", "proof3_publish"]


def decided(bureau: Bureau, submission: str) -> list[str]:
    return [one.data["step"] for one in bureau.audit(submission) if one.event == "decided"]


async def test_work_news_passes_its_tiers_in_order_and_is_published(bureau: Bureau):
    """R4.1-8, R4.1-11."""
    submission = await bureau.submit()

    await bureau.published(submission)

    final = await bureau.handle(submission).result()
    assert decided(bureau, submission) == TIERS
    assert final.status == "published" and final.done
    assert bureau.pages() == [bureau.row(submission).number]


async def test_each_step_waits_for_the_one_before(bureau: Bureau):
    """R4.1-11."""
    submission = await bureau.submit()

    for step in TIERS:
        await bureau.settled(submission)
        assert [one.key for one in bureau.open_steps(submission)] == [step]
        assert bureau.pages() == []
        await bureau.decide(submission, step)


async def test_opinions_on_an_emergency_are_asked_at_once(bureau: Bureau):
    """R4.1-10, A-5."""
    found = (bureau.clock() - timedelta(minutes=10)).isoformat()
    submission = await bureau.submit("fire_info", category="emergency", event_time=found)

    await bureau.run(submission, until="center_sign")
    both = {step.key for step in bureau.open_steps(submission)}
    await bureau.decide(submission, "office_opinion")
    await bureau.settled(submission)
    one_left = {step.key for step in bureau.open_steps(submission)}

    assert both == {"center_sign", "office_opinion"}
    assert one_left == {"center_sign"}
    await bureau.published(submission)


async def test_returned_item_waits_for_its_author_and_begins_anew(bureau: Bureau):
    """A-15."""
    submission = await bureau.submit()
    await bureau.run(submission, until="second_review")

    await bureau.decide(
        submission, "second_review", "return", reason_code="facts", opinion="数字与来源不符"
    )
    await bureau.settled(submission)
    returned = await bureau.position(submission)
    await bureau.edit(submission, "afforest_info", body="4个市作了交流发言。")
    await bureau.settled(submission)
    answered = await bureau.position(submission)

    assert returned.status == "returned" and not returned.open_steps
    assert returned.next_mark.startswith("returned:")
    assert [step.step for step in answered.open_steps] == ["unit_review"]
    assert (answered.round, answered.version) == (2, 2)
    await bureau.published(submission)


async def test_withdrawn_item_ends_unpublished(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.run(submission, until="final_review")

    await bureau.act(submission, "withdraw", by="afforest_info")

    final = await bureau.handle(submission).result()
    assert final.status == "withdrawn" and final.done and final.next_at is None
    assert bureau.publications(submission) == []


async def test_rejected_item_ends_unpublished(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.settled(submission)

    await bureau.decide(submission, "unit_review", "reject", opinion="不宜公开")

    final = await bureau.handle(submission).result()
    assert final.status == "rejected"
    assert bureau.pages() == []


async def test_held_item_waits_without_a_clock_and_goes_on_when_released(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.run(submission, until="proof3_publish")

    await bureau.act(submission, "hold", by="chief", reason="待统一口径")
    await bureau.settled(submission)
    held = await bureau.position(submission)
    await bureau.act(submission, "release", by="chief")
    await bureau.settled(submission)

    assert held.status == "held" and held.next_at is None and not held.publish
    await bureau.published(submission)


async def test_two_units_channels_are_published_each_on_its_own(bureau: Bureau):
    """R2.2-3: each operating unit proofs and sends its own channel."""
    submission = await bureau.submit(channels=["site", "mini_pest"])
    await bureau.run(submission, until="proof3_publish")

    await bureau.decide(submission, "proof3_publish", unit="center")
    await bureau.until(lambda: len(bureau.publications(submission)) == 1)
    first = bureau.publications(submission)[0].channel
    await bureau.published(submission)

    assert first == "site"
    channels = {p.channel: p.state for p in bureau.publications(submission)}
    assert channels == {"site": "live", "mini_pest": "live"}


async def test_publication_is_a_child_named_as_the_contract_says(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.published(submission)

    child = bureau.client.get_workflow_handle(publication_workflow_id(submission, "site", 1))

    described = await child.describe()
    assert described.workflow_type == "PublicationWorkflow"
    assert described.status == WorkflowExecutionStatus.COMPLETED
    assert described.parent_id == f"submission-{submission}"


async def test_retracted_item_is_taken_down_by_a_new_run(bureau: Bureau):
    """A-24."""
    submission = await bureau.submit()
    await bureau.published(submission)
    await bureau.handle(submission).result()

    await bureau.act(submission, "retract", by="chief", reason="信息有误")
    await bureau.until(lambda: bureau.row(submission).status == "retracted")

    assert (await bureau.handle(submission).result()).status == "retracted"
    assert [p.state for p in bureau.publications(submission)] == ["retracted"]


async def test_item_that_its_platform_still_checks_is_taken_back_at_once(idle_bureau: Bureau):
    """A-24: its publication sleeps until the platform's next answer, and is woken."""
    bureau = idle_bureau
    bureau.mini = FakePlatform(PublicationState.ACCEPTED)
    async with bureau.worker():
        submission = await bureau.submit(channels=["mini_pest"])
        await bureau.run(submission)
        await bureau.until(
            lambda: [p.state for p in bureau.publications(submission)] == ["accepted"]
        )

        await bureau.act(submission, "retract", by="chief", reason="信息有误")
        await bureau.until(lambda: bureau.row(submission).status == "retracted")
        final = await bureau.handle(submission).result()

    assert final.status == "retracted"
    assert len(bureau.mini.retracted) == 1


async def test_corrected_item_is_replaced_by_the_next_generation(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.published(submission)

    await bureau.act(
        submission, "correct", by="deputy_b", reason="数字更正",
        base_digest=bureau.row(submission).digest, body="3个市、2个县作了交流发言。",
    )  # fmt: skip
    await bureau.run(submission)
    await bureau.until(lambda: len(bureau.publications(submission)) == 2)
    await bureau.until(lambda: bureau.row(submission).status == "published")

    assert [p.state for p in bureau.publications(submission)][-1] == "live"
    assert "2个县" in (bureau.data / f"site/item/{bureau.pages()[0]}.html").read_text()


async def test_status_query_says_who_is_asked_and_until_when(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.settled(submission)

    shown = await bureau.reviews.submission(bureau.who("afforest_info"), submission)

    assert shown["workflow"]["answered"]
    (step,) = shown["workflow"]["open_steps"]
    assert (step["step"], step["people"]) == ("unit_review", ["afforest_head"])
    assert shown["workflow"]["next_mark"] == "0/remind:50"


async def test_supervisor_sees_attributes_and_details_without_text(bureau: Bureau):
    """Design, principle 7."""
    submission = await bureau.submit()
    await bureau.run(submission, until="final_review")

    described = await bureau.handle(submission).describe()
    attributes = described.typed_search_attributes
    keyword = SearchAttributeKey.for_keyword
    metadata = await bureau.handle(submission).query("__temporal_workflow_metadata")
    details = metadata.current_details

    assert attributes.get(keyword("SanshenCategory")) == "work_news"
    assert attributes.get(keyword("SanshenUnit")) == "afforest"
    assert attributes.get(keyword("SanshenStatus")) == "in_review"
    row = bureau.row(submission)
    assert row.number in details and "final_review" in details and "chief" in details
    assert row.title not in details


async def test_status_attribute_follows_the_ledger(bureau: Bureau):
    submission = await bureau.submit()
    await bureau.published(submission)
    await bureau.handle(submission).result()

    described = await bureau.handle(submission).describe()

    status = SearchAttributeKey.for_keyword("SanshenStatus")
    assert described.typed_search_attributes.get(status) == "published"


async def test_history_is_cut_and_nothing_is_lost(quick_ledger: Ledger, tmp_path: Path):
    """Continue-as-new after few events: the same course, over several runs."""
    async with engine(limit__historyCount__suggestContinueAsNew="12") as env:
        bureau = Bureau(quick_ledger, env.client, tmp_path)
        async with bureau.worker():
            submission = await bureau.submit(channels=["site", "mini_pest"])
            await bureau.published(submission)
            final = await bureau.handle(submission).result()
            runs = [
                run async for run in env.client.list_workflows(
                    f"WorkflowId = 'submission-{submission}'"
                )
            ]  # fmt: skip
            replayer = Replayer(
                workflows=[SubmissionWorkflow, PublicationWorkflow], data_converter=converter({})
            )
            for run in runs:
                handle = env.client.get_workflow_handle(run.id, run_id=run.run_id)
                await replayer.replay_workflow(await handle.fetch_history())

        assert len(runs) > 2
        assert final.status == "published"
        assert decided(bureau, submission) == [*TIERS, "proof3_publish"]
        assert len(bureau.publications(submission)) == 2
