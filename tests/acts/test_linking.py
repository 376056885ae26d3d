"""Links that decide: what each dies with, that it counts once, and that nobody can read it."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel, select

from review.acts import linking
from review.acts.linking import DeadLinkError
from review.records import access, links, passwords
from review.records.links import DecisionLink
from review.records.people import load_person
from review.records.restores import note_restore
from review.records.tables import Audit, Decision, Grant, Notice, PersonRow
from review.requests import DecisionRequest
from review.rules.errors import NotAllowedError, NotFoundError, RuleError
from tests.acting import Course, warnings_of
from tests.examples import CHECKLIST

HEAD = "afforest_head"
LASTS = timedelta(hours=72)


@pytest.fixture
def course(ledger):
    found = Course(ledger)
    found.turn()
    return found


def tokens_for(course, person=HEAD, kind="asked"):
    """Return the links of a person's notices, as a letter gets them."""

    def make(session):
        ids = session.exec(
            select(Notice.id).where(Notice.person_id == person).where(Notice.kind == kind)
            .where(Notice.submission_id == course.id)
        ).all()  # fmt: skip
        return list(linking.make_links(session, ids, LASTS, course.now).values())

    return course.ledger.write(make)


def why(course, token):
    with course.ledger.reading() as session:
        try:
            linking.opened(session, token, course.now)
        except DeadLinkError as dead:
            return dead.params["why"]
        except NotFoundError:
            return "unknown"
    return "alive"


def press(course, token, verdict="approve", *, second_factor=False, **fields):
    def act(session):
        link = links.find(session, token)
        if link is None:
            raise NotFoundError
        person = load_person(session, link.person_id, course.now)
        if person is None:
            raise DeadLinkError(why="account")
        step = session.connection().execute(
            text("SELECT key, round FROM step WHERE id = :id"), {"id": link.step_id}
        ).one()  # fmt: skip
        given = {
            "step": step.key, "round": step.round, "verdict": verdict, "digest": link.digest,
            "checklist": CHECKLIST, "findings_seen": warnings,
        } | fields  # fmt: skip
        return linking.decide(
            session, person, token, DecisionRequest.model_validate(given), course.now,
            second_factor_given=second_factor,
        )  # fmt: skip

    warnings = warnings_of(course.ledger, course.id)
    return course.ledger.write(act)


def contents(ledger):
    """Return every row of every table, as text."""
    with ledger.reading() as session:
        return {
            name: sorted(repr(tuple(row)) for row in session.execute(table.select()))
            for name, table in SQLModel.metadata.tables.items()
        }


def decisions(course):
    with course.ledger.reading() as session:
        return session.exec(select(Decision).where(Decision.submission_id == course.id)).all()


def test_a_link_decides_once_in_its_persons_name_and_answers_the_same_press_alike(course):
    [token] = tokens_for(course)

    first = press(course, token)
    course.now += timedelta(minutes=5)

    assert press(course, token) == first
    [made] = decisions(course)
    assert (made.person_id, made.key, made.way_in) == (HEAD, "unit_review", "link")
    with pytest.raises(DeadLinkError, match="link_dead") as refusal:
        press(course, token, "return", reason_code="facts", opinion="请改")
    assert refusal.value.params["why"] == "used" == why(course, token)
    assert len(decisions(course)) == 1


def test_looking_changes_nothing_and_no_row_holds_the_token(course):
    [token] = tokens_for(course)
    before = contents(course.ledger)

    assert why(course, token) == "alive"

    assert contents(course.ledger) == before
    assert token not in repr(before)
    press(course, token)
    assert token not in repr(contents(course.ledger))


@pytest.mark.parametrize("many", [2, 6])
def test_presses_at_once_are_one_decision(course, many):
    [token] = tokens_for(course)
    go, answers = threading.Barrier(many), []

    def run(n):
        go.wait()
        try:
            answers.append(press(course, token, opinion="" if n % 2 == 0 else "同意。"))
        except RuleError as refusal:
            answers.append(refusal.params.get("why"))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == many and len(decisions(course)) == 1
    taken = [one for one in answers if isinstance(one, dict)]
    assert taken == taken[:1] * (many // 2) and answers.count("used") == many // 2


def test_another_letters_link_dies_when_one_is_used(course):
    [first] = tokens_for(course)
    [second] = tokens_for(course)

    press(course, second)

    assert why(course, first) == "decided"
    with pytest.raises(DeadLinkError):
        press(course, first)


def test_a_letter_written_again_leaves_the_last_link_alive_and_no_more(course):
    [first], [second], [third] = (tokens_for(course) for _ in range(3))

    assert [why(course, one) for one in (first, second, third)] == ["unknown", "alive", "alive"]


def close_account(course):
    course.ledger.write(lambda s: access.disable(s, HEAD, course.now))


def reopened_account(course):
    close_account(course)
    course.ledger.write(lambda s: access.enable(s, HEAD, course.now))


def password_changed(course):
    course.ledger.write(lambda s: passwords.set_password(s, HEAD, "通行短语 one two", course.now))


def role_revoked(course):
    def revoke(session):
        for grant in session.exec(select(Grant).where(Grant.person_id == HEAD)):
            grant.revoked_at = course.now
            session.add(grant)

    course.ledger.write(revoke)


def three_days(course):
    course.now += LASTS


def put_back(course):
    course.ledger.write(lambda s: note_restore(s, course.now, course.now))


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (close_account, "account"),
        (reopened_account, "account"),
        (password_changed, "account"),
        (put_back, "account"),
        (role_revoked, "not_yours"),
        (three_days, "expired"),
        (lambda c: c.decide(HEAD, "unit_review"), "decided"),
        (
            lambda c: c.decide(
                HEAD, "unit_review", "return", reason_code="facts", opinion="请改"
            ),
            "decided",
        ),
        (lambda c: c.act("afforest_info", "withdraw", reason="报错了"), "moved"),
        (lambda c: c.act("bureau_chief", "hold", reason="等一等"), "moved"),
    ],
)  # fmt: skip
def test_a_link_dies_with_what_it_stands_for(course, event, told):
    [token] = tokens_for(course)
    event(course)
    before = len(decisions(course))

    assert why(course, token) == told
    with pytest.raises(RuleError):
        press(course, token)
    assert len(decisions(course)) == before


def test_a_link_dies_with_the_version(course):
    course.decide(HEAD, "unit_review")
    course.turn()
    [token] = tokens_for(course, "editor_a")
    course.edit("editor_a", title="全省秋冬季造林绿化现场会召开", change="wording")

    assert why(course, token) == "version"
    with pytest.raises(DeadLinkError):
        press(course, token, checklist={})


def test_a_link_dies_with_a_transfer(course):
    course.decide(HEAD, "unit_review")
    course.turn()
    [token] = tokens_for(course, "editor_a")
    course.act("editor_a", "transfer", step="edit_proof2", to="editor_b", reason="出差")

    assert why(course, token) == "not_yours"
    with pytest.raises(DeadLinkError):
        press(course, token, checklist={})


@pytest.mark.parametrize(("hours", "told"), [(0, "alive"), (2, "not_yours")])
def test_a_delegates_link_dies_with_the_delegation(course, hours, told):
    course.run("edit_proof2")
    until = (course.now + timedelta(hours=1)).isoformat()
    course.act("deputy_b", "delegate", to="editor_b", until=until)
    course.run("second_review")
    course.turn()
    [token] = tokens_for(course, "editor_b")
    course.now += timedelta(hours=hours)

    assert why(course, token) == told
    if hours:
        with pytest.raises(DeadLinkError):
            press(course, token, checklist={})
    else:
        press(course, token, checklist={})
        assert decisions(course)[-1].acting_for_id == "deputy_b"


def test_nobody_elses_truncated_or_made_up_token_opens_anything(course):
    [token] = tokens_for(course)
    other = token[:-1] + ("A" if token[-1] != "A" else "B")

    assert {why(course, one) for one in (token[:-1], token + "A", other, "", "x" * 43)} == {
        "unknown"
    }
    with course.ledger.reading() as session:
        [row] = session.exec(select(DecisionLink)).all()
    assert why(course, row.token_hash) == why(course, row.id) == "unknown"


def test_notices_that_ask_nothing_and_people_who_are_not_asked_get_no_link(course):
    assert tokens_for(course, HEAD, "returned") == []
    course.wait(hours=12)
    with course.ledger.reading() as session:
        told = session.exec(select(Notice).where(Notice.kind == "overdue")).all()
    assert told and not [
        token for one in told for token in tokens_for(course, one.person_id, "overdue")
    ]


def test_a_refusal_uses_no_link_up(course):
    [token] = tokens_for(course)
    with pytest.raises(RuleError):
        press(course, token, checklist={})

    assert why(course, token) == "alive"
    assert press(course, token)["accepted"] is True


def test_whoever_must_give_a_second_factor_decides_nothing_without(course):
    def join_early(session):
        row = session.get(PersonRow, "fire_head")
        assert row is not None
        row.created_at = course.now - timedelta(days=365)
        session.add(row)

    course.ledger.write(join_early)
    grave = Course(
        course.ledger, "fire_info", now=course.now, category="emergency",
        event_time="2026-11-23T08:30:00+08:00",
    )  # fmt: skip
    grave.turn()
    [token] = tokens_for(grave, "fire_head")

    with pytest.raises(NotAllowedError, match="second_factor_needed"):
        press(grave, token)
    assert not decisions(grave)
    assert press(grave, token, second_factor=True)["accepted"] is True


def test_the_trace_says_by_which_way_and_nothing_of_the_link(course):
    [token] = tokens_for(course)
    press(course, token)

    with course.ledger.reading() as session:
        [entry] = session.exec(select(Audit).where(Audit.event == "decided")).all()
    assert entry.way_in == "link" and token not in repr(entry)
