"""Messages over a real web hook: by the ways people chose, once, late rather than lost."""

import asyncio
import io
import logging
from collections import Counter
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlmodel import select

from activities.mailbox import FolderMailbox, Outcome
from activities.messages import Messenger
from activities.notify import CLAIM, Notifier
from activities.outgoing import Outgoing
from activities.robots import Robots, _Call, _judged
from review import logs
from review.acts import upkeep
from review.acts.duty import ShiftLine, Shifts, import_shifts
from review.acts.item import Item
from review.acts.roster import close_account, people_listed
from review.acts.routing import route
from review.acts.showing import item_of
from review.acts.ways import add_way, choose, remove_way, ways_shown
from review.notice_ways import NamedWay
from review.records.kept import Box
from review.records.retries import GIVEN_UP, TRIES
from review.records.tables import Notice
from review.records.ways import MessageTry, NoticeSend, NoticeWay
from review.rules.errors import NotAllowedError, NotFoundError
from review.rules.notices import MAIL, Sort
from tests.acting import Course
from tests.activities.robot_server import Room, serving
from tests.examples import MONDAY, who

EVENT = "2026-11-23T08:30:00+08:00"
TITLE = "全省秋冬季造林绿化现场推进会召开"
BOX = Box(b"s" * 32, "notice ways")
HEAD = "afforest_head"
EVERYTHING = {sort: ["named:group"] for sort in Sort}


@pytest.fixture(scope="module")
def room_host():
    room = Room()
    with serving(room) as host:
        yield room, host


@pytest.fixture
def room(room_host):
    found, _ = room_host
    found.heard.clear()
    found.go_on.clear()
    found.statuses, found.at, found.asked, found.stalls = [], {}, 0, False
    return found


class House:
    """The worker's part that tells people, on a clock of the test's."""

    def __init__(self, ledger, host, mail, **ways):
        self.ledger = ledger
        self.now = MONDAY
        named = {"group": "json://{host}/group", "each": "json://{host}/each/{{username}}"} | ways
        self.named = {
            name: NamedWay(id=name, name=name, url=SecretStr(url.format(host=host)))
            for name, url in named.items()
        }
        self.host = host
        self.mail = mail
        self.robots = Robots(Outgoing((host,)), Outgoing((host,)), patience=0.5)

    def messenger(self):
        return Messenger(
            self.ledger, self.robots, self.named, BOX, lambda: self.now,
            public_url="https://sanshen.example",
        )  # fmt: skip

    def notifier(self):
        return Notifier(
            self.ledger, FolderMailbox(self.mail), lambda: self.now, named=self.named,
            public_url="https://sanshen.example", sender="sanshen@bureau.example",
        )  # fmt: skip

    async def deliver(self, messenger=None):
        letters = await self.notifier().deliver()
        return letters, await (messenger or self.messenger()).deliver()

    def choose(self, person, choices):
        self.ledger.write(
            lambda s: choose(s, who(s, person), self.now, choices, self.named, way_in="api")
        )

    def add_own(self, person, path="own"):
        return self.ledger.write(
            lambda s: add_way(
                s, who(s, person), self.now, "我的手机", f"json://{self.host}/{path}", BOX,
                ("json",), way_in="api",
            )
        )  # fmt: skip

    def rows(self, table):
        with self.ledger.reading() as session:
            return session.exec(select(table).order_by(table.id)).all()


@pytest.fixture
def house(quick_ledger, room, room_host, tmp_path, monkeypatch):
    monkeypatch.setattr("review.notice_ways.is_public", lambda _: True)  # 127.0.0.1 is ours here
    return House(quick_ledger, room_host[1], tmp_path / "mail")


@pytest.fixture
def either(ledger, room, room_host, tmp_path):
    return House(ledger, room_host[1], tmp_path / "mail")


def mails(house):
    return sorted(house.mail.glob("*.eml"))


async def test_a_message_says_what_by_when_and_why_and_decides_nothing(either, room):
    either.choose(HEAD, {Sort.TODO: ["named:each"]})
    course = Course(either.ledger)
    course.turn()

    assert await either.deliver() == (0, 1)
    assert await either.deliver() == (0, 0)

    [said] = room.to(f"/each/{HEAD}")
    assert TITLE in said["title"] and "剩 3 小时 30 分" in said["message"]
    assert "您承担该环节的审核职责" in said["message"]
    assert f"https://sanshen.example/items/{course.id}" in said["message"]
    assert "decisions" not in str(said) and "3个市作了交流发言" not in str(said)
    assert mails(either) == []
    [send] = either.rows(NoticeSend)
    [tried] = either.rows(MessageTry)
    assert (send.done_at, send.error) == (MONDAY, "")
    assert (tried.state, tried.notices, tried.people) == ("sent", [send.notice_id], [HEAD])
    assert either.host not in str([tried, send])


async def test_ways_are_chosen_by_sort_and_the_inbox_has_all(house, room):
    house.choose(HEAD, {Sort.TODO: [], Sort.REMINDER: [MAIL, "named:group"]})
    course = Course(house.ledger)
    course.turn()
    asked = await house.deliver()
    house.now = course.now = MONDAY + timedelta(hours=2)
    course.turn()
    reminded = await house.deliver()

    assert (asked, reminded) == ((0, 0), (1, 1))
    assert "【提醒】" in room.to("/group")[0]["title"]
    assert [one.kind for one in house.rows(Notice)] == ["asked", "remind"]


async def test_emergencies_show_number_and_category_alone(house, room):
    house.choose("fire_head", EVERYTHING)
    grave = Course(house.ledger, "fire_info", category="emergency", event_time=EVENT)
    grave.turn()

    await house.deliver()

    [said] = room.to("/group")
    assert "推进会" not in str(said)
    assert grave.answer["number"] in said["title"]


async def test_other_peoples_words_are_no_orders_to_a_chat(house, room):
    house.choose(HEAD, EVERYTHING)
    Course(house.ledger, title="召开<at user_id=all>会[点](x) @所有人").turn()

    await house.deliver()

    [said] = room.to("/group")
    assert not set("<>@[]`*") & set(said["title"])
    assert "＜at user_id=all＞" in said["title"]


async def test_one_group_hears_one_thing_once(house, room):
    """Three are asked, and one robot speaks to the group they are in."""
    for person in ("editor_a", "editor_b"):
        house.choose(person, EVERYTHING)
    course = Course(house.ledger)
    course.run(until="edit_proof2")

    await house.deliver()

    [said] = room.to("/group")
    assert "editor_a、editor_b" in said["message"]
    assert len(house.rows(NoticeSend)) == 2
    assert all(one.done_at for one in house.rows(NoticeSend))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 302, 308])
async def test_a_refused_destination_is_known_and_tried_again_the_next_day(house, room, status):
    room.at["/group"] = status
    house.choose(HEAD, EVERYTHING)
    course = Course(house.ledger)
    course.turn()

    for _ in range(3):
        await house.deliver()
        house.now += timedelta(minutes=20)
    Course(house.ledger, title="湿地保护志愿服务队成立", now=house.now).turn()
    await house.deliver()

    assert room.asked == 1 and room.heard == []
    assert [(one.state, one.detail) for one in house.rows(MessageTry)] == [("refused", str(status))]
    with house.ledger.reading() as session:
        listed = people_listed(session, who(session, "security"), house.now)
        shown = item_of(session, who(session, "chief"), Item.seen(session, course.id), house.now)
        mine = ways_shown(session, who(session, HEAD), house.now, house.named)
    assert [one["id"] for one in listed if one["way_refused_at"]] == [HEAD]
    assert [one["id"] for one in shown["unreached"]] == [HEAD]
    assert {one["state"] for one in mine["named"] if one["way"] == "named:group"} == {"refused"}

    room.at.clear()
    house.now += timedelta(days=1)
    await house.deliver()

    assert len(room.to("/group")) == 2
    with house.ledger.reading() as session:
        listed = people_listed(session, who(session, "security"), house.now)
    assert not [one for one in listed if one["way_refused_at"]]


async def test_a_mended_address_is_tried_at_once(house, room):
    room.at["/group"] = 404
    house.choose(HEAD, EVERYTHING)
    Course(house.ledger).turn()
    await house.deliver()

    url = SecretStr(f"json://{house.host}/mended")
    house.named["group"] = house.named["group"].model_copy(update={"url": url})
    house.now += timedelta(minutes=5)
    Course(house.ledger, title="湿地保护志愿服务队成立", now=house.now).turn()
    await house.deliver()

    assert len(room.to("/mended")) == 1


@pytest.mark.parametrize("statuses", [[500, 503], [429, 408]])
async def test_a_busy_platform_gets_it_later(house, room, statuses):
    room.statuses = statuses
    house.choose(HEAD, EVERYTHING)
    Course(house.ledger).turn()

    for _ in range(5):
        await house.deliver()
        house.now += timedelta(seconds=30)

    assert len(room.to("/group")) == 1
    assert [one.state for one in house.rows(MessageTry)] == ["failed", "failed", "sent"]


async def test_a_platform_that_does_not_answer_is_left_within_the_patience(house, room):
    room.stalls = True
    house.choose(HEAD, EVERYTHING)
    Course(house.ledger).turn()

    assert await asyncio.wait_for(house.deliver(), 5) == (0, 0)

    assert [(one.state, one.detail) for one in house.rows(MessageTry)] == [("failed", "timeout")]
    room.go_on.set()


async def test_a_platform_that_is_away_keeps_no_letter_waiting(house, room):
    house.named["group"] = NamedWay(id="group", name="g", url=SecretStr("json://127.0.0.1:9/x"))
    house.robots = Robots(Outgoing(("127.0.0.1:9",)), Outgoing())
    house.choose(HEAD, {sort: [MAIL, "named:group"] for sort in Sort})
    Course(house.ledger).turn()

    assert await house.deliver() == (1, 0)
    assert [(one.state, one.detail) for one in house.rows(MessageTry)] == [("away", "unreachable")]


@pytest.mark.parametrize("url", ["json://{host}/x", "jsons://10.0.0.1/x", "json://localhost:1/x"])
async def test_nothing_inside_is_reached_unless_it_is_ours(house, room, url):
    url = url.format(host=house.host)
    robots = Robots(Outgoing(), Outgoing())

    for own in (True, False):
        assert (await robots.send(url, "t", "b", own=own)).state == "refused"
    assert room.asked == 0


@pytest.mark.parametrize("url", ["syslog://", "nosuch://x", "mailtos://u:p@mail.example", "x"])
async def test_what_sends_by_another_way_sends_nothing(house, url):
    """Only what speaks HTTP goes through the judged way out."""
    assert await house.robots.send(url, "t", "b", own=False) == Outcome(
        "refused", "unknown_address"
    )


async def test_nothing_of_a_message_or_an_address_is_logged(house, room, capfd):
    heard = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    logs.configure("json", "DEBUG", heard)
    try:
        for status in (200, 404, 500):
            room.statuses = [status]
            await house.robots.send(
                f"json://{house.host}/geheim", "canarytitle", "canarybody", own=False
            )
        await house.robots.send("wecombot://x y z/geheim", "canarytitle", "b", own=False)
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
    said = heard.getvalue() + "".join(capfd.readouterr())

    assert "canary" not in said and "geheim" not in said


async def test_a_worker_that_dies_leaves_its_messages_to_the_next(either, room):
    either.choose(HEAD, EVERYTHING)
    Course(either.ledger).turn()
    await either.notifier().deliver()
    dying = either.messenger()

    class Dies:
        async def send(self, url, title, body, *, own):
            raise asyncio.CancelledError

    dying._robots = Dies()
    with pytest.raises(asyncio.CancelledError):
        await dying.deliver()
    at_once = await either.messenger().deliver()
    either.now += CLAIM + timedelta(seconds=1)
    later = await either.messenger().deliver()

    assert (at_once, later) == (0, 1)
    assert len(room.to("/group")) == 1


async def test_four_workers_send_each_message_once(either, room):
    either.choose(HEAD, {Sort.TODO: ["named:each", MAIL]})
    for title in ("湿地保护志愿服务队成立", "林业有害生物防治现场会召开", "防火宣传进校园活动"):
        Course(either.ledger, now=either.now, title=title).turn()

    await asyncio.gather(*(either.notifier().deliver() for _ in range(4)))
    sent = await asyncio.gather(*(either.messenger().deliver() for _ in range(4)))

    assert sum(sent) == 3
    assert set(Counter(one["title"] for _, one in room.heard).values()) == {1}
    assert len(mails(either)) == 3


async def test_two_hours_without_a_platform_lose_nothing_and_flood_nobody(house, room):
    house.choose("fire_head", EVERYTHING)
    room.at["/group"] = 503
    items = [
        Course(house.ledger, "fire_info", now=house.now, title=f"某地发生林火第{number}报",
               category="emergency", level="major", event_time=EVENT)
        for number in range(3)
    ]  # fmt: skip
    while house.now < MONDAY + timedelta(hours=2):
        for one in items:
            one.until(house.now)
        await house.deliver()
        house.now += timedelta(minutes=10)
    items[0].decide("fire_head", "unit_review")
    room.at.clear()
    for _ in range(14):
        await house.deliver()
        house.now += timedelta(minutes=1)

    sends = house.rows(NoticeSend)
    assert len(sends) > 20
    assert all(one.done_at for one in sends)
    assert {one.error for one in sends} == {"", "coalesced", "over"}
    told = Counter(
        id_ for one in house.rows(MessageTry) if one.state == "sent" for id_ in one.notices
    )
    assert set(told) == {one.notice_id for one in sends if not one.error}
    assert set(told.values()) == {1}
    assert len(room.to("/group")) <= 6


async def test_what_nobody_takes_for_a_week_is_given_up(house, room):
    room.at["/group"] = 500
    house.choose(HEAD, {sort: ["named:group"] for sort in Sort})
    Course(house.ledger).turn()
    for _ in range(TRIES):
        await house.deliver()
        house.now += GIVEN_UP / TRIES
    house.now += timedelta(seconds=1)
    await house.deliver()

    assert [one.error for one in house.rows(NoticeSend)] == ["given_up"]
    assert room.asked == TRIES


# --- people's own destinations --------------------------------------------------------------------


async def test_an_own_destination_gets_a_first_word_and_then_what_was_chosen(house, room):
    made = house.add_own(HEAD)
    await house.deliver()
    house.choose(HEAD, {Sort.TODO: [made["way"]]})
    Course(house.ledger).turn()
    await house.deliver()

    first, second = room.to("/own")
    assert "已登记" in first["title"] and TITLE in second["title"]
    with house.ledger.reading() as session:
        shown = str(ways_shown(session, who(session, HEAD), house.now, house.named))
        kept = session.get_one(NoticeWay, made["id"])
    assert "我的手机" in shown
    assert house.host not in shown + str(made) and house.host not in kept.sealed


async def test_an_own_destination_ends_with_removal_and_with_the_account(house, room):
    gone, left = house.add_own(HEAD, "gone"), house.add_own(HEAD, "left")
    house.choose(HEAD, {Sort.TODO: [gone["way"]]})
    house.ledger.write(lambda s: remove_way(s, who(s, HEAD), gone["id"], house.now, way_in="api"))
    Course(house.ledger).turn()
    letters, _ = await house.deliver()
    house.ledger.write(
        lambda s: close_account(s, HEAD, house.now, by=who(s, "security"), way_in="api")
    )
    await house.deliver()

    assert letters == 1  # the last way chosen is gone: mail
    assert room.to("/gone") == []
    assert {(one.id, one.sealed) for one in house.rows(NoticeWay)} == {
        (gone["id"], ""), (left["id"], ""),
    }  # fmt: skip


async def test_a_copied_seal_opens_for_nobody_else(house, room):
    """Somebody who can write the ledger can't move a destination to another's row."""
    mine, other = house.add_own(HEAD, "mine"), house.add_own("fire_head", "other")

    def swap(session):
        a, b = session.get_one(NoticeWay, mine["id"]), session.get_one(NoticeWay, other["id"])
        a.sealed = b.sealed

    house.ledger.write(swap)
    await house.deliver()

    assert room.to("/mine") == [] and len(room.to("/other")) == 1


# --- quiet hours ----------------------------------------------------------------------------------

NIGHT = MONDAY.replace(hour=22)
MORNING = MONDAY + timedelta(days=1, hours=-1, minutes=-30)  # 07:30


def asked_at_night(house, count=2, **fields):
    house.now = NIGHT
    made = [
        Course(house.ledger, now=NIGHT, title=f"湿地保护志愿服务队第{n}批成立", **fields)
        for n in range(count)
    ]
    for one in made:
        one.turn()
    return made


async def test_what_is_quiet_comes_together_in_the_morning(either, room):
    either.choose(HEAD, {Sort.TODO: ["named:group"], Sort.DIGEST: ["named:group", MAIL]})
    asked_at_night(either)
    while either.now < MORNING:
        assert await either.deliver() == (0, 0)
        either.now += timedelta(minutes=45)
    either.now = MORNING
    assert await either.deliver() == (1, 1)

    [said] = room.to("/group")
    assert "2 项" in said["title"]
    assert said["message"].count("https://sanshen.example/items/") == 2
    assert len(mails(either)) == 1


async def test_what_was_decided_at_night_asks_nobody_in_the_morning(house, room):
    house.choose(HEAD, EVERYTHING)
    [first, _] = asked_at_night(house)
    await house.deliver()
    first.decide(HEAD, "unit_review")
    house.now = MORNING
    await house.deliver()

    assert len(room.to("/group")) == 1
    assert sorted(one.error for one in house.rows(NoticeSend)) == ["", "over"]


async def test_emergencies_and_days_off_keep_their_own_hours(house, room):
    house.choose("fire_head", EVERYTHING)
    house.choose(HEAD, EVERYTHING)
    house.now = MONDAY - timedelta(days=1)  # Sunday, nine o'clock
    Course(house.ledger, "fire_info", now=house.now, category="emergency",
           event_time="2026-11-22T08:30:00+08:00").turn()  # fmt: skip
    Course(house.ledger, now=house.now).turn()

    await house.deliver()

    [said] = room.to("/group")
    assert "突发" in str(said) and "fire_head" in said["message"]


async def test_notices_are_routed_once_whoever_looks(either):
    asked_at_night(either)
    first = either.ledger.write(route, either.now, either.named)
    again = either.ledger.write(route, either.now, either.named)

    assert (first, again) == (2, 0)


# --- duty -----------------------------------------------------------------------------------------


def put_on_duty(house, **people):
    lines = tuple(
        ShiftLine(unit=unit if unit != "bureau" else "", person=person,
                  **{"from": NIGHT - timedelta(hours=4), "until": MORNING})
        for unit, person in people.items()
    )  # fmt: skip
    house.ledger.write(import_shifts, Shifts(shifts=lines), NIGHT)


def fire_at(house, at):
    house.now = at
    course = Course(
        house.ledger, "fire_info", now=at, category="emergency", event_time=at.isoformat()
    )
    course.turn()
    return course


async def test_an_emergency_at_night_reaches_who_is_on_duty_on_all_ways(either, room):
    """Requirements, feature 42."""
    put_on_duty(either, fire="fire_info", afforest=HEAD, bureau="duty")
    either.choose("duty", {Sort.RESULT: ["named:each"], Sort.TODO: [], Sort.ESCALATION: []})
    course = fire_at(either, NIGHT)
    for _ in range(3):
        await either.deliver()

    told = {one.person_id for one in either.rows(Notice) if one.kind == "duty"}
    assert told == {"fire_info", "duty"}  # not who is on duty for another unit
    [said] = room.to("/each/duty")
    assert "值班" in said["title"] and course.answer["number"] in said["title"]
    assert "推进会" not in str(said) and "fire_head不在工作时间" in said["message"]
    assert len(mails(either)) == 3  # the head's, and both officers'
    assert str(mails(either)).count("eml") == 3


async def test_duty_is_no_right_to_decide(house, room):
    put_on_duty(house, fire="afforest_info", bureau="duty")
    course = fire_at(house, NIGHT)
    for _ in range(3):
        await house.deliver()

    for person in ("afforest_info", "duty"):
        with pytest.raises((NotAllowedError, NotFoundError)):
            course.decide(person, "unit_review")
    assert course.row().status == "in_review"


@pytest.mark.parametrize("at", [MONDAY, NIGHT - timedelta(hours=5), MORNING + timedelta(hours=2)])
async def test_nobody_on_duty_is_called_in_working_hours_or_when_off(house, at):
    put_on_duty(house, fire="fire_info", bureau="duty")
    fire_at(house, at.replace(minute=0))
    for _ in range(3):
        await house.deliver()

    assert [one for one in house.rows(Notice) if one.kind == "duty"] == []


async def test_ordinary_items_call_nobody_on_duty(house):
    put_on_duty(house, afforest="afforest_info", bureau="duty")
    asked_at_night(house)
    await house.deliver()

    assert {one.kind for one in house.rows(Notice)} == {"asked"}


# --- what platforms mean by yes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "answer", "state"),
    [
        ("wecombot", b'{"errcode":0,"errmsg":"ok"}', "sent"),
        ("wecombot", b'{"errcode":93000,"errmsg":"invalid webhook url"}', "refused"),
        ("wecombot", b'{"errcode":45009,"errmsg":"api freq out of limit"}', "failed"),
        ("dingtalk", b'{"errcode":310000,"errmsg":"sign not match"}', "refused"),
        ("feishu", b'{"code":19001,"msg":"param invalid"}', "refused"),
        ("feishu", b'{"code":11232,"msg":"frequency limited"}', "failed"),
        ("json", b'{"errcode":93000}', "sent"),
        ("wecombot", b"<html>", "sent"),
    ],
)
def test_a_yes_that_means_no_is_none(scheme, answer, state):
    """群机器人 answer 200 to a wrong key; their own code says what they mean."""
    call = _Call(None, None, 0.0, answers=[(200, answer)])

    assert _judged(scheme, call, True).state == state


async def test_what_waits_for_a_platform_is_seen_by_who_runs_the_place(house, room):
    room.at["/group"] = 503
    house.choose(HEAD, EVERYTHING)
    Course(house.ledger).turn()
    await house.deliver()
    house.now += timedelta(minutes=5)

    with house.ledger.reading() as session:
        waiting = upkeep.waiting(session, who(session, "admin"), house.now)["messages"]

    assert waiting == {"count": 1, "age": 300, "attempts": 1}


async def test_one_persons_slow_platform_delays_nobodys_letters(house, room):
    """Letters have a loop of their own; a robot has fifteen seconds."""
    room.stalls = True
    house.robots = Robots(Outgoing((house.host,)), Outgoing(), patience=30)
    house.choose(HEAD, {sort: [MAIL, "named:group"] for sort in Sort})
    Course(house.ledger).turn()
    await house.notifier().deliver()
    slow = asyncio.create_task(house.messenger().deliver())
    await asyncio.sleep(0)
    Course(house.ledger, title="湿地保护志愿服务队成立", now=house.now).turn()

    assert await house.notifier().deliver() == 1
    assert not slow.done()
    room.go_on.set()
    await slow
