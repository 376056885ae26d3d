"""The last look on the real engine: what is found just before going live holds the item."""

from typing import Any

from sqlmodel import select

from review.acts import lists
from review.acts.screening import rows_of
from review.records.tables import Notice
from tests.bureau import Bureau


async def test_item_is_held_before_it_goes_live_and_published_once_it_is_waived(bureau: Bureau):
    """Requirements 7, order of running; nothing is sent meanwhile."""

    def later_words(session: Any) -> None:
        words = lists.lists_in_force(session).words
        given = words.model_copy(update={"version": "later", "internal_marks": ("交流发言",)})
        lists.import_list(session, given, bureau.clock())

    submission = await bureau.submit()
    await bureau.run(submission, until="proof3_publish")
    bureau.ledger.write(later_words)
    await bureau.decide(submission, "proof3_publish")
    await bureau.until(lambda: bureau.row(submission).status == "held")
    await bureau.settled(submission)

    assert bureau.pages() == []
    assert bureau.publications(submission) == []
    assert (await bureau.position(submission)).status == "held"
    with bureau.ledger.reading() as session:
        [finding] = rows_of(session, bureau.row(submission))
        told = {n.person_id for n in session.exec(select(Notice).where(
            Notice.kind == "held_by_screening"))}  # fmt: skip
    assert {"afforest_head", "publisher_a"} <= told

    given = {"finding": finding.finding_id, "reason": "会议已公开报道"}
    await bureau.act(submission, "waive", by="reviewer_b", **given)
    await bureau.act(submission, "release", by="chief")
    await bureau.until(lambda: bureau.row(submission).status == "published")

    assert len(bureau.pages()) == 1
