"""Screening at work: what blocks, what must be seen, who waives, and the look before going live."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from review.acts import lists, reading, statistics
from review.acts.publishing import claim, refuse
from review.acts.screening import check, rows_of
from review.records.engine import Ledger
from review.records.tables import Audit, FindingRow, Notice, Publication, WordList
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.screening import Sources, Words
from tests.acting import Course
from tests.examples import MONDAY, who

COORDINATES = (
    "调查队员在某自然保护区发现珍稀兰科植物，坐标为东经114.1234°、北纬40.1234°，共计12株。"
)
OFF_LIST = {"type": "repost", "name": "某县融媒体中心", "url": "https://rm.example/8"}
SLIP = "各地严禁焚烧秸杆，压实防火责任，加强野外火源管控，确保秋冬季森林草原防火形势平稳。"


def findings(course: Course) -> dict[str, FindingRow]:
    """Return what stands in the current text, by rule."""
    with course.ledger.reading() as session:
        return {one.rule: one for one in rows_of(session, course.row())}


def refused(act: Any, *args: Any, **fields: Any) -> RefusedError:
    with pytest.raises(RefusedError) as found:
        act(*args, **fields)
    return found.value


def import_words(course: Course, **changes: Any) -> None:
    """Put words in force that find something which those before did not."""

    def change(session: Any) -> None:
        words = lists.lists_in_force(session).words
        given = words.model_copy(update={"version": "later"} | changes)
        lists.import_list(session, given, course.now)

    course.ledger.write(change)


def test_block_finding_holds_up_every_approval_until_it_is_waived_by_its_role(ledger: Ledger):
    course = Course(ledger, body=COORDINATES)
    [shown] = [one for one in course.answer["findings"] if one["severity"] == "block"]
    course.turn()

    refusal = refused(course.decide, "afforest_head", "unit_review")
    assert (refusal.code, refusal.params["blocking"]) == ("findings_open", [shown["id"]])
    assert shown["rule"] == "SPECIES_LOCATION"
    for person in ("deputy_b", "chief", "bureau_chief", "reviewer_b"):
        with pytest.raises(NotAllowedError):
            course.act(person, "waive", finding=shown["id"], reason="可以公开")
    with pytest.raises(NotAllowedError):
        course.act("afforest_head", "waive", finding=shown["id"], reason="可以公开")
    course.act("leader_eco", "waive", finding=shown["id"], reason="已向社会公布的观赏点")

    course.decide("afforest_head", "unit_review")
    waived = findings(course)["SPECIES_LOCATION"]
    assert (waived.waived_by_id, waived.waived_role) == ("leader_eco", "supervising_leader")
    assert waived.waive_reason == "已向社会公布的观赏点"
    with ledger.reading() as session:
        [entry] = session.exec(select(Audit).where(Audit.event == "waive")).all()
    assert entry.data["finding"] == shown["id"]
    assert "观赏点" not in str(entry.data)


def test_block_finding_that_was_fixed_blocks_no_more(ledger: Ledger):
    course = Course(ledger, body=COORDINATES)
    course.turn()

    answer = course.edit("afforest_head", body="调查队员在某自然保护区发现珍稀兰科植物，共计12株。")
    course.decide("afforest_head", "unit_review")

    assert "SPECIES_LOCATION" not in {one["rule"] for one in answer["findings"]}
    assert course.row().findings == 0


def test_every_reviewer_ticks_each_warning_and_those_let_pass_are_counted(ledger: Ledger):
    """Feature 44."""
    course = Course(ledger, body=SLIP)
    id_ = findings(course)["TYPO"].finding_id
    for step in ("unit_review", "edit_proof2", "second_review", "final_review", "proof3_publish"):
        course.run(until=step)
        refusal = refused(course.decide, course.usual(step), step, findings_seen=[])
        assert refusal.code == "findings_open"
        assert (refusal.params["unseen"], refusal.params["blocking"]) == ([id_], [])
        assert [one["rule"] for one in refusal.params["findings"]] == ["TYPO"]
        refused(course.decide, course.usual(step), step, findings_seen=["000000000000"])
        course.decide(course.usual(step), step, findings_seen=[id_])

    with ledger.reading() as session:
        chief = who(session, "chief")
        counted = statistics.statistics(session, chief, None, None, "unit", course.now)
        board = reading.board(session, chief, course.now)
    (row,) = counted["rows"]
    assert row["unit"] == "afforest" and row["submitted"] == row["ignored"] == 1
    assert row["ignored_warnings"] == 1
    assert board["findings"] == {"blocking": 0, "ignored_warnings": 1}


def test_return_needs_no_ticks(quick_ledger: Ledger):
    course = Course(quick_ledger, body=COORDINATES + SLIP)
    course.turn()

    course.decide(
        "afforest_head", "unit_review", "return", reason_code="facts", opinion="请删去坐标。",
        findings_seen=[],
    )  # fmt: skip

    assert course.row().status == "returned"


def test_placeholder_is_a_warning_that_blocks_the_third_proof(ledger: Ledger):
    """Requirements 7, PLACEHOLDER."""
    course = Course(ledger, body="11月18日，局长【领导姓名待核】到基层林场调研秋冬季防火工作。")
    course.run(until="proof3_publish")
    finding = findings(course)["PLACEHOLDER"]
    assert finding.severity == "warn"

    refusal = refused(course.decide, "publisher_a", "proof3_publish")
    assert refusal.params["blocking"] == [finding.finding_id]
    with pytest.raises(NotAllowedError):
        course.act("chief", "waive", finding=finding.finding_id, reason="按代称发布")
    course.act("deputy_b", "waive", finding=finding.finding_id, reason="按代称发布")
    course.decide("publisher_a", "proof3_publish")

    assert course.publish().status == "published"


def test_what_has_no_waiver_cannot_be_waived(quick_ledger: Ledger):
    course = Course(quick_ledger, body=SLIP)
    id_ = findings(course)["TYPO"].finding_id

    assert refused(course.act, "chief", "waive", finding=id_, reason="无妨").code == "not_waivable"
    with pytest.raises(NotFoundError):
        course.act("chief", "waive", finding="000000000000", reason="无妨")
    with pytest.raises(NotFoundError):  # another item's finding
        other = Course(quick_ledger, body=COORDINATES)
        course.act(
            "chief", "waive", finding=findings(other)["SPECIES_LOCATION"].finding_id, reason="无妨"
        )


def test_waiver_ends_with_the_words_it_was_given_for(ledger: Ledger):
    course = Course(ledger, body=COORDINATES, title="我省新发现珍稀植物分布点")
    id_ = findings(course)["SPECIES_LOCATION"].finding_id
    course.act("leader_eco", "waive", finding=id_, reason="已公布的观赏点")
    course.turn()

    course.edit("afforest_head", title="我省新发现珍稀兰科植物分布点")
    assert findings(course)["SPECIES_LOCATION"].waived_by_id == "leader_eco"

    course.edit("afforest_head", body=COORDINATES + "该处位于核心区。")
    assert findings(course)["SPECIES_LOCATION"].waived_by_id is None


def test_authority_reference_settles_its_finding_without_a_new_text(ledger: Ledger):
    """A-27."""
    body = "11月21日14时20分，某县某镇发生森林火灾，过火面积约30亩，明火已扑灭，起火原因正在调查。"
    course = Course(
        ledger, "fire_info", body=body, category="emergency", level="major",
        event_time=MONDAY - timedelta(hours=1),
    )  # fmt: skip
    course.turn()
    assert refused(course.decide, "fire_head", "unit_review").code == "findings_open"
    course.decide(
        "fire_head", "unit_review", "return", reason_code="source", opinion="请填写发布依据。"
    )

    course.edit("fire_info", authority_reference="省森防指办〔2026〕1号")
    course.turn()
    course.decide("fire_head", "unit_review")

    assert course.row().version == 1
    assert "FIRE_AUTHORITY" not in findings(course)
    with ledger.reading() as session:
        rows = session.exec(select(FindingRow).where(FindingRow.rule == "FIRE_AUTHORITY")).all()
    assert [row.gone_at is not None for row in rows] == [True]


def test_repost_without_a_source_is_stopped_in_a_later_version_too(ledger: Ledger):
    """RA1-8."""
    course = Course(ledger)
    course.turn()
    course.decide(
        "afforest_head", "unit_review", "return", reason_code="source", opinion="请注明来源。"
    )

    refusal = refused(course.edit, "afforest_info", source={"type": "repost", "name": "新华社"})

    assert refusal.code == "screening_stop"
    assert [one["rule"] for one in refusal.params["findings"]] == ["REPOST_NO_SOURCE"]
    assert course.row().version == 1


def test_repost_off_the_list_waits_for_the_chief_or_for_a_newer_list(ledger: Ledger):
    """A-12."""
    course = Course(ledger, source=OFF_LIST)
    blocked = findings(course)["REPOST_OFF_LIST"]
    assert (blocked.severity, blocked.waiver) == ("block", "center_chief")

    def add(session: Any) -> None:
        given = {"version": "later", "sources": [{"name": OFF_LIST["name"]}]}
        lists.import_list(session, Sources.model_validate(given), course.now)

    ledger.write(add)

    assert "REPOST_OFF_LIST" not in findings(Course(ledger, source=OFF_LIST))
    assert "REPOST_OFF_LIST" in findings(course)  # a decision screens nothing


# --- other items ----------------------------------------------------------------------------------


def test_near_repeat_of_the_last_ninety_days_is_named(ledger: Ledger):
    first = Course(ledger, body=SLIP.replace("秸杆", "秸秆"))

    second = Course(ledger, "forest_info", body=SLIP.replace("秸杆", "秸秆") + "特此报道。")

    [found] = [one for one in second.answer["findings"] if one["rule"] == "DUPLICATE"]
    assert found["suggest"] == first.row().number
    assert first.row().title not in str(found)  # another unit's unpublished title


@pytest.mark.parametrize("gone", ["withdrawn", "old"])
def test_repeat_of_what_is_withdrawn_or_old_is_none(quick_ledger: Ledger, gone: str):
    body = SLIP.replace("秸杆", "秸秆")
    first = Course(quick_ledger, body=body)
    if gone == "withdrawn":
        first.act("afforest_info", "withdraw")

    later = MONDAY if gone == "withdrawn" else MONDAY + timedelta(days=91)
    with quick_ledger.reading() as session:
        given = {"title": "另一件稿件的标题", "body": body}
        found = check(session, who(session, "forest_info", later), given, later)

    assert "DUPLICATE" not in {one["rule"] for one in found}


def test_figures_are_compared_with_linked_items_of_ones_own_unit(ledger: Ledger):
    """R5.3-2."""
    first = Course(ledger, body="截至11月15日，全省完成秋冬季造林绿化76万亩，进展顺利。")
    body = "截至11月20日，全省完成秋冬季造林绿化82万亩，进展顺利。"

    own = Course(ledger, body=body, linked=(first.id,))
    foreign = Course(ledger, "forest_info", body=body, linked=(first.id,))

    assert "FIGURE_MISMATCH" in findings(own)
    assert "FIGURE_MISMATCH" not in findings(foreign)


# --- lists ----------------------------------------------------------------------------------------


def test_lists_are_kept_as_versions_and_the_latest_is_in_force(ledger: Ledger):
    words = Words(version="a", typos={"秸杆": "秸秆"})

    taken = [
        ledger.write(lists.import_list, given, MONDAY + timedelta(minutes=minute))
        for minute, given in enumerate((words, words, Words(version="b"), words))
    ]

    assert taken == [True, False, True, True]
    with ledger.reading() as session:
        assert lists.lists_in_force(session).words == words
        rows = session.exec(
            select(WordList.version).where(WordList.kind == "words").order_by(col(WordList.id))
        ).all()
        events = session.exec(select(Audit.event).where(Audit.chain == "bureau")).all()
    assert rows[-3:] == ["a", "b", "a"]
    assert events.count("words_imported") == 4
    ledger.write(lists.adopt_first_lists, MONDAY)  # a later start changes nothing
    with ledger.reading() as session:
        assert lists.lists_in_force(session).words == words
        assert lists.screener_in_force(session) is lists.screener_in_force(session)


# --- before going live ----------------------------------------------------------------------------


def held_course(ledger: Ledger) -> tuple[Course, FindingRow]:
    """Return an item that was held at the last door by words that came after its reviews."""
    course = Course(ledger)
    course.run()
    import_words(course, internal_marks=("交流发言",))
    refusal = refused(course.claim)
    assert refusal.params["why"] == ["findings"]
    ledger.write(refuse, course.id, "site", ["findings"], course.now)
    return course, findings(course)["INTERNAL_MARK"]


def test_new_block_finding_holds_the_item_before_it_goes_live(ledger: Ledger):
    course, finding = held_course(ledger)

    assert (course.row().status, finding.stage) == ("held", "go_live")
    assert course.turn().publish == ()
    with ledger.reading() as session:
        assert session.exec(select(Publication)).all() == []
        told = session.exec(select(Notice).where(Notice.kind == "held_by_screening")).all()
        [entry] = session.exec(select(Audit).where(Audit.event == "held_by_screening")).all()
    assert {"afforest_info", "afforest_head", "publisher_a", "chief"} <= {n.person_id for n in told}
    assert entry.data["rules"] == ["INTERNAL_MARK"]


def test_held_item_goes_live_once_it_is_waived_and_released(ledger: Ledger):
    course, finding = held_course(ledger)

    course.act("reviewer_b", "waive", finding=finding.finding_id, reason="会议已公开报道")
    course.act("chief", "release")

    assert course.publish().status == "published"


def test_held_item_that_is_released_unmended_goes_back_to_the_second_proof(ledger: Ledger):
    course, _ = held_course(ledger)

    course.act("chief", "release")
    position = course.turn()
    assert [step.step for step in position.open_steps] == ["edit_proof2"]
    assert refused(course.decide, "editor_a", "edit_proof2").code == "findings_open"
    body = "11月18日，全省秋冬季造林绿化现场推进会召开。3个市作了发言。"
    course.edit("editor_a", body=body, change="wording")
    course.run()

    assert course.publish().status == "published"


def test_stop_finding_at_the_last_door_is_waived_by_nobody(quick_ledger: Ledger):
    """A rule that came later: what was stored before it must not go live."""
    course = Course(quick_ledger)
    course.run()

    def spoil(session: Any) -> None:
        row = course.row()
        session.add(row)
        row.details = row.details | {"background": "密级：机密"}

    quick_ledger.write(spoil)

    assert refused(course.claim).params["why"] == ["findings"]
    quick_ledger.write(refuse, course.id, "site", ["findings"], course.now)
    id_ = findings(course)["CLASSIFIED_MARK"].finding_id
    for person in ("chief", "reviewer_b", "leader_eco", "bureau_chief", "deputy_b"):
        assert refused(course.act, person, "waive", finding=id_, reason="x").code == "not_waivable"


def test_what_may_have_been_sent_is_not_sent_again_with_a_new_finding(quick_ledger: Ledger):
    course = Course(quick_ledger)
    course.run()
    course.claim()
    import_words(course, internal_marks=("交流发言",))

    again = quick_ledger.write(claim, course.id, "site", 1, course.now)

    assert again.may_have_arrived and not again.may_send
