"""Claim, send, record: once, or looked up, or unknown; never twice."""

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.publish import Publisher
from review.rules.publications import PublicationOutcome, PublicationRef
from review.rules.values import PublicationState
from tests.publications import MONDAY_9AM, TITLE, FakePlatform, OnePublication, a_claim

REF = PublicationRef(submission_id="s1", channel="site", generation=1)
LIVE, UNKNOWN, FAILED = (
    PublicationState.LIVE,
    PublicationState.UNKNOWN,
    PublicationState.FAILED,
)
ACCEPTED, RETRACTED = PublicationState.ACCEPTED, PublicationState.RETRACTED


class CrashError(Exception):
    """The worker is gone."""


class Crash:
    """Fall once at one point."""

    def __init__(self, point: str) -> None:
        self._point = point

    def __call__(self, point: str) -> None:
        if point == self._point:
            self._point = ""
            raise CrashError(point)


def a_publisher(ledger: OnePublication, platform: FakePlatform, **more) -> Publisher:
    return Publisher(ledger, {"website": platform}, lambda: MONDAY_9AM, **more)


async def tried(publisher: Publisher, ref: PublicationRef = REF) -> PublicationOutcome:
    return await ActivityEnvironment().run(publisher.publish, ref)


async def test_live_item_is_recorded():
    ledger, platform = OnePublication(a_claim()), FakePlatform()

    outcome = await tried(a_publisher(ledger, platform))

    assert outcome == PublicationOutcome(state=LIVE)
    assert platform.sent == ["s1-site-1"]
    assert [receipt.state for receipt in ledger.receipts] == [LIVE]


@pytest.mark.parametrize("point", ["after_claim", "after_send", "before_record"])
async def test_crash_at_any_point_sends_once(point: str):
    ledger, platform = OnePublication(a_claim()), FakePlatform()
    publisher = a_publisher(ledger, platform, fault=Crash(point))

    with pytest.raises(CrashError):
        await tried(publisher)
    outcome = await tried(publisher)

    assert outcome.state == LIVE
    assert platform.sent == ["s1-site-1"]
    assert platform.looks == 1
    assert [receipt.state for receipt in ledger.receipts] == [LIVE]


async def test_lost_completion_is_answered_from_the_ledger():
    ledger, platform = OnePublication(a_claim()), FakePlatform()
    publisher = a_publisher(ledger, platform)

    assert await tried(publisher) == await tried(publisher)

    assert len(platform.sent) == len(ledger.receipts) == 1
    assert platform.looks == 0


@pytest.mark.parametrize("later", [LIVE, UNKNOWN])
async def test_send_without_an_end_is_looked_up_and_not_repeated(later: PublicationState):
    ledger, platform = OnePublication(a_claim()), FakePlatform(later=later, breaks=True)

    outcome = await tried(a_publisher(ledger, platform))

    assert outcome.state == later
    assert len(platform.sent) == 1


async def test_send_that_surely_was_lost_is_tried_again_after_a_look():
    ledger, platform = OnePublication(a_claim()), FakePlatform(loses=1)
    publisher = a_publisher(ledger, platform)

    with pytest.raises(ApplicationError) as lost:
        await tried(publisher)
    outcome = await tried(publisher)

    assert lost.value.type == "ChannelFailed" and not lost.value.non_retryable
    assert TITLE not in str(lost.value) and lost.value.__cause__ is None
    assert outcome.state == LIVE
    assert platform.looks == 2 and len(platform.sent) == 1


async def test_closed_gate_sends_and_records_nothing():
    """R1.3-2."""
    ledger, platform = OnePublication(a_claim(), refuses="tier:2"), FakePlatform()

    with pytest.raises(ApplicationError, match="gate_closed") as refusal:
        await tried(a_publisher(ledger, platform))

    assert refusal.value.type == "GateClosed" and refusal.value.non_retryable
    assert platform.sent == [] and platform.looks == 0 and ledger.receipts == []
    assert ledger.alarms == [["tier:2"]]


@pytest.mark.parametrize("arrived", [True, False])
async def test_gate_that_closed_after_a_try_allows_a_look_only(arrived: bool):
    ledger, platform = OnePublication(a_claim(may_send=False)), FakePlatform()
    ledger.open_attempts.append(0)
    if arrived:
        platform.sent.append("s1-site-1")

    outcome = await tried(a_publisher(ledger, platform))

    assert outcome.state == (LIVE if arrived else FAILED)
    assert len(platform.sent) == int(arrived)


async def test_page_that_was_not_proofed_is_not_sent():
    """R1.3-6."""
    ledger, platform = OnePublication(a_claim(rendered_digest="00" * 32)), FakePlatform()

    outcome = await tried(a_publisher(ledger, platform))

    assert (outcome.state, outcome.detail) == (FAILED, "publication.rendered_differs")
    assert platform.sent == []


async def test_unknown_platform_is_recorded_as_failed():
    ledger = OnePublication(a_claim(platform="douyin"))

    with pytest.raises(ApplicationError) as error:
        await tried(a_publisher(ledger, FakePlatform()))

    assert error.value.type == "UnknownPlatform" and error.value.non_retryable
    assert [receipt.state for receipt in ledger.receipts] == [FAILED]


async def test_accepted_item_is_asked_about_and_not_sent_again():
    ledger, platform = OnePublication(a_claim()), FakePlatform(answer=ACCEPTED, later=LIVE)
    publisher = a_publisher(ledger, platform, confirm_after=(7, 9))

    first = await tried(publisher)
    second = await tried(publisher, REF.model_copy(update={"looks": 1}))

    assert (first.state, first.wait_seconds) == (ACCEPTED, 7)
    assert second == PublicationOutcome(state=LIVE)
    assert len(platform.sent) == 1


async def test_platform_that_never_confirms_leaves_it_to_a_person():
    ledger, platform = OnePublication(a_claim()), FakePlatform(answer=ACCEPTED)
    publisher = a_publisher(ledger, platform, confirm_after=(7,))

    await tried(publisher)
    outcome = await tried(publisher, REF.model_copy(update={"looks": 1}))

    assert outcome == PublicationOutcome(state=UNKNOWN, detail="publication.confirmation_overdue")
    assert ledger.receipts[-1].state == UNKNOWN


async def test_accepted_item_that_the_platform_dropped_has_failed():
    ledger, platform = OnePublication(a_claim(state=ACCEPTED)), FakePlatform()

    outcome = await tried(a_publisher(ledger, platform))

    assert (outcome.state, outcome.detail) == (FAILED, "publication.dropped")
    assert platform.sent == []


@pytest.mark.parametrize("point", ["after_claim", "after_send", "before_record"])
async def test_retraction_survives_a_crash(point: str):
    """A-24."""
    ledger = OnePublication(a_claim(deed="retract", state=LIVE))
    platform = FakePlatform()
    platform.sent.append("s1-site-1")
    publisher = a_publisher(ledger, platform, fault=Crash(point))

    with pytest.raises(CrashError):
        await tried(publisher)
    outcome = await tried(publisher)

    assert outcome.state == RETRACTED
    assert platform.retracted == ["s1-site-1"]
