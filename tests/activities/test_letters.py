"""Letters over a real mail server: to the right person, once, late rather than lost (R4.2-2)."""

import asyncio
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from activities.mailbox import SmtpMailbox
from activities.notify import CLAIM, Notifier
from review.records.engine import Ledger
from review.records.letters import LetterTry, refusals
from review.records.tables import Notice, PersonRow
from tests.acting import Course
from tests.activities.mail_server import Post, certificate, serving, told_once
from tests.examples import MONDAY

EVENT = "2026-11-23T08:30:00+08:00"
HEAD = "afforest_head@bureau.example"


@pytest.fixture
def post(tmp_path, monkeypatch):
    public, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    return Post()


@pytest.fixture
def course(quick_ledger):
    def give_addresses(session):
        for row in session.exec(select(PersonRow)):
            row.email = f"{row.username}@bureau.example"
            session.add(row)

    quick_ledger.write(give_addresses)
    found = Course(quick_ledger)
    found.turn()
    return found


def notifier(course, url) -> Notifier:
    return Notifier(
        course.ledger, SmtpMailbox(url), lambda: course.now,
        public_url="https://sanshen.example", sender="sanshen@bureau.example",
    )  # fmt: skip


def rows(course, table):
    with course.ledger.reading() as session:
        return session.exec(select(table)).all()


@pytest.mark.parametrize("tls", ["smtps", "starttls"])
async def test_a_letter_says_what_by_when_and_why_and_decides_nothing(post, course, tmp_path, tls):
    with serving(post, tmp_path, tls=tls) as url:
        assert await notifier(course, url).deliver() == 1
        assert await notifier(course, url).deliver() == 0

    [letter] = post.to(HEAD)
    plain = letter.get_body(("plain",)).get_content()
    page = letter.get_body(("html",)).get_content()
    for part in (plain, page):
        assert "全省秋冬季造林绿化现场推进会召开" in part
        assert "剩 3 小时 30 分（工作时间）" in part and "您承担该环节的审核职责" in part
        assert f"https://sanshen.example/items/{course.id}" in part
        assert "decisions" not in part and "<form" not in part
    assert letter["From"].addresses[0].addr_spec == "sanshen@bureau.example"
    assert course.id in letter["References"]
    assert post.was_private == {True}
    assert [(one.state, one.address) for one in rows(course, LetterTry)] == [("sent", HEAD)]


async def test_the_second_reminder_says_so_and_stays_in_the_thread(post, course, tmp_path):
    with serving(post, tmp_path) as url:
        while len(post.to(HEAD)) < 3:
            await notifier(course, url).deliver()
            course.wait(minutes=30)

    opened, _, second = post.to(HEAD)
    assert "第 2 次提醒" in second.get_body(("plain",)).get_content()
    assert opened["References"] == second["References"]


async def test_emergencies_show_number_and_category_alone(post, course, tmp_path):
    grave = Course(
        course.ledger, "fire_info", now=course.now, category="emergency", event_time=EVENT
    )
    grave.turn()

    with serving(post, tmp_path) as url:
        await notifier(grave, url).deliver()

    letters = post.to("fire_head@bureau.example")
    assert letters and not [one for one in letters if "推进会" in str(one)]
    assert all("推进会" not in one.get_body(("plain",)).get_content() for one in letters)


async def test_nothing_goes_to_a_server_whose_certificate_is_not_trusted(
    post, course, tmp_path, monkeypatch
):
    other, _ = certificate(tmp_path / "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))

    with serving(post, tmp_path) as url:
        assert await notifier(course, url).deliver() == 0

    assert post.letters == []
    assert [one.state for one in rows(course, LetterTry)] == ["away"]


async def test_nothing_goes_in_the_clear_to_another_machine(post, course, tmp_path):
    with serving(post, tmp_path, tls="") as url:
        away = url.replace("127.0.0.1", "127.1")  # the same place by a name that isn't known as it
        assert await notifier(course, away).deliver() == 0

    assert post.letters == []


async def test_a_wrong_address_is_known_and_tried_again_the_next_day(post, course, tmp_path):
    post.unknown.add(HEAD)
    with serving(post, tmp_path) as url:
        sender = notifier(course, url)
        for _ in range(3):
            await sender.deliver()
            course.now += timedelta(minutes=5)
        with course.ledger.reading() as session:
            wrong = refusals(session, ["afforest_head", "editor_a"])
        tried = rows(course, LetterTry)
        post.unknown.clear()
        course.now += timedelta(days=1)
        await sender.deliver()
        with course.ledger.reading() as session:
            mended = refusals(session, ["afforest_head"])

    assert {name: one.detail for name, one in wrong.items()} == {"afforest_head": "550"}
    assert len(tried) == 1
    assert len(post.to(HEAD)) == 1
    assert mended == {}


async def test_somebody_without_an_address_has_the_inbox(post, course, tmp_path):
    def forget(session):
        session.get(PersonRow, "afforest_head").email = ""

    course.ledger.write(forget)
    with serving(post, tmp_path) as url:
        assert await notifier(course, url).deliver() == 0

    [notice] = rows(course, Notice)
    assert (notice.error, post.letters) == ("no_address", [])


async def test_a_server_that_is_busy_gets_it_later(post, course, tmp_path):
    post.busy = 2
    with serving(post, tmp_path) as url:
        sender = notifier(course, url)
        for _ in range(4):
            await sender.deliver()
            course.now += timedelta(minutes=1)

    assert len(post.to(HEAD)) == 1
    assert [one.state for one in rows(course, LetterTry)] == ["failed", "failed", "sent"]


async def test_a_letter_whose_answer_is_lost_comes_once_more_under_its_name(post, course, tmp_path):
    post.lost = 1
    with serving(post, tmp_path) as url:
        sender = notifier(course, url)
        for _ in range(4):
            await sender.deliver()
            course.now += timedelta(minutes=1)

    assert len(post.to(HEAD)) == 2
    assert len({one["Message-ID"] for one in post.to(HEAD)}) == 1


async def test_a_worker_that_dies_leaves_its_letters_to_the_next(post, course, tmp_path):
    """Claimed, and then killed: before it was sent, and after."""
    with serving(post, tmp_path) as url:
        dying = notifier(course, url)
        dying._mailbox.send = lambda letters: _dies()
        with pytest.raises(asyncio.CancelledError):
            await dying.deliver()

        at_once = await notifier(course, url).deliver()
        course.now += CLAIM + timedelta(seconds=1)
        later = await notifier(course, url).deliver()

    assert (at_once, later) == (0, 1)
    assert len(post.to(HEAD)) == 1


async def _dies():
    raise asyncio.CancelledError
    yield []


async def test_two_workers_send_each_letter_once(post, course, tmp_path):
    for title in ("湿地保护志愿服务队成立", "林业有害生物防治现场会召开", "防火宣传进校园"):
        Course(course.ledger, now=course.now, title=title).turn()

    with serving(post, tmp_path) as url:
        senders = [notifier(course, url) for _ in range(4)]
        sent = await asyncio.gather(*(one.deliver() for one in senders))

    assert sum(sent) == 4
    assert set(Counter(one["Message-ID"] for _, one in post.letters).values()) == {1}


async def test_two_hours_without_a_server_lose_nothing_and_flood_nobody(post, course, tmp_path):
    """What piled up becomes one letter a person; what is over by then asks nobody any more."""
    items = [course]
    for number in range(12):
        one = Course(
            course.ledger, "fire_info", now=course.now, title=f"某地发生林火第{number}报",
            category="emergency", level="major", event_time=EVENT,
        )  # fmt: skip
        one.turn()
        items.append(one)
    with serving(post, tmp_path) as url:
        pass  # and is gone
    sender, rounds = notifier(course, url), 0
    while course.now < MONDAY + timedelta(hours=2):
        assert await sender.deliver() == 0
        course.now += timedelta(minutes=1)
        for one in items:
            one.until(course.now)
        rounds += 1
    tried = len(rows(course, LetterTry))
    decided = items[1]
    decided.decide("fire_head", "unit_review")
    port = int(url.rpartition(":")[2])
    with serving(post, tmp_path, port=port):
        for _ in range(10):
            await sender.deliver()
            course.now += timedelta(seconds=20)

    notices = rows(course, Notice)
    assert len(notices) > 100
    assert all(one.mailed_at is not None for one in notices)
    assert {one.error for one in notices} == {"", "coalesced", "over"}
    told = {id_ for one in rows(course, LetterTry) if one.state == "sent" for id_ in one.notices}
    assert told == {one.id for one in notices if not one.error}
    letters = Counter(to for to, _ in post.letters)
    assert set(letters) == {f"{one.person_id}@bureau.example" for one in notices if not one.error}
    assert max(letters.values()) <= 6, letters
    assert tried <= rounds + 1


async def test_each_notice_of_a_course_reaches_the_right_person_once(post, course, tmp_path):
    """A reminder, a return, a second round and the end; the demo's day is the long variant."""
    with serving(post, tmp_path) as url:
        sender = notifier(course, url)

        async def deliver():
            while await sender.deliver():
                pass

        course.wait(hours=2)
        await deliver()
        course.decide(
            HEAD.partition("@")[0], "unit_review", "return", opinion="请核对数据",
            reason_code="facts", return_to="author",
        )  # fmt: skip
        course.turn()
        await deliver()
        course.edit("afforest_info", body="11月18日，现场推进会召开。4个市作了交流发言。")
        position = course.run()
        await deliver()
        course.publish(position)
        course.turn()
        await deliver()

    assert told_once(course.ledger, post) > 8
    kinds = {one.kind for one in rows(course, Notice)}
    assert kinds >= {"asked", "remind", "returned", "published"}


@pytest.mark.long
async def test_each_notice_of_the_demos_day_reaches_the_right_person_once(tmp_path, monkeypatch):
    """Issue 5: the whole day with the real processes; what their end cut off goes out after it."""
    public, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    post, data = Post(), tmp_path / "data"
    with serving(post, tmp_path) as url:
        monkeypatch.setenv("SANSHEN_SMTP_URL", url)
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "starter.cli", "demo", "--json", "--data", str(data)],
            capture_output=True, check=False,
        )  # fmt: skip
        ledger = Ledger(f"sqlite:///{data / 'ledger.db'}")
        left = Notifier(
            ledger, SmtpMailbox(url), lambda: datetime.now(UTC) + CLAIM,
            public_url="https://sanshen.example", sender="sanshen@bureau.example",
        )  # fmt: skip
        while await left.deliver():
            pass
    told = told_once(ledger, post)
    ledger.close()

    assert ran.returncode == 0, ran.stderr[-2000:]
    assert told > 200
    assert post.was_private == {True}
    people = len({to for to, _ in post.letters})
    print(f"notices {told}, letters {len(post.letters)}, people {people}")
