"""The patrol: what changed, vanished or was never authorised is told once, and a lead is open."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select
from temporalio.testing import ActivityEnvironment

from activities.channels import Channel, Site
from activities.outgoing import Outgoing
from activities.patrol import Patroller
from activities.publish import Publisher
from activities.wechat import Wechat
from review.records import tables
from review.records.engine import Ledger
from review.records.matters import Violation
from review.records.tables import Audit, Notice, Publication
from review.rules.publications import Connection, PatrolResult, PatrolTurn, PublicationRef
from tests.acting import Course
from tests.platforms import APP_ID, APP_SECRET, COVER, FakeWechat

HALF_AN_HOUR = timedelta(minutes=31)


class Watch:
    """A published item on the site or on 微信公众号, and a clock that is moved."""

    def __init__(self, ledger: Ledger, tmp_path: Path, wechat: FakeWechat | None = None) -> None:
        self.ledger = ledger
        self.now = datetime.now(UTC)
        self.root = tmp_path / "site"
        self.channels: dict[str, Channel] = {"website": Site(self.root, "http://127.0.0.1")}
        if wechat is not None:
            outgoing = Outgoing([wechat.address.removeprefix("http://")])

            async def connect(_channel: str) -> Connection:
                return Connection(
                    address=wechat.address,
                    account=APP_ID,
                    secret=APP_SECRET,
                    options={"cover": COVER},
                )

            self.channels["wechat"] = Wechat(outgoing, connect)

    async def publish(self, channel: str = "site") -> Course:
        course = Course(self.ledger, now=self.now, title="造林绿化现场会召开", channels=[channel])
        course.run()
        publisher = Publisher(self.ledger, self.channels, lambda: self.now, confirm_after=(0, 0))
        looks = 0
        while True:
            ref = PublicationRef(
                submission_id=course.id, channel=channel, generation=1, looks=looks
            )
            outcome = await ActivityEnvironment().run(publisher.publish, ref)
            if outcome.wait_seconds is None:
                assert outcome.state == "live"
                return course
            looks += 1

    async def patrol(self, after: timedelta = timedelta(0)) -> PatrolResult:
        self.now += after
        patroller = Patroller(self.ledger, self.channels, lambda: self.now)
        return await ActivityEnvironment().run(patroller.patrol, PatrolTurn())

    def notices(self, kind: str) -> list[Notice]:
        with self.ledger.reading() as session:
            return [n for n in session.exec(select(Notice)) if n.kind == kind]

    def leads(self) -> list[Violation]:
        with self.ledger.reading() as session:
            return list(session.exec(select(Violation)))

    def page(self) -> Path:
        (page,) = (self.root / "item").glob("*.html")
        return page


@pytest.fixture
def watch(quick_ledger: Ledger, tmp_path: Path) -> Watch:
    return Watch(quick_ledger, tmp_path)


@pytest.fixture
def on_wechat(quick_ledger: Ledger, tmp_path: Path) -> Iterator[tuple[Watch, FakeWechat]]:
    platform = FakeWechat(reviews_for=0)

    def channel(session) -> None:
        session.add(
            tables.Channel(id="wx", name="wx", platform="wechat", operator_unit_id="center")
        )

    quick_ledger.write(channel)
    with platform.serving():
        yield Watch(quick_ledger, tmp_path, platform), platform


async def test_untouched_page_is_read_on_its_days_and_nobody_is_told(watch: Watch):
    await watch.publish()

    assert (await watch.patrol()).read == 0
    reads = [
        (await watch.patrol(HALF_AN_HOUR)).read,
        (await watch.patrol(HALF_AN_HOUR)).read,
        *[(await watch.patrol(timedelta(days=1))).read for _ in range(9)],
    ]

    assert reads == [1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert not watch.leads()


async def test_changed_page_is_told_within_one_patrol_and_once(ledger: Ledger, tmp_path: Path):
    """R5.3-2; issue 5's show."""
    watch = Watch(ledger, tmp_path)
    course = await watch.publish()
    page = watch.page()
    page.write_text(page.read_text().replace("召开", "取消"))

    found = await watch.patrol(HALF_AN_HOUR)
    again = await watch.patrol(timedelta(days=1))

    assert (found.drifted, again.drifted) == (1, 0)
    (lead,) = watch.leads()
    assert (lead.kind, lead.submission_id, lead.channel) == (2, course.id, "site")
    told = watch.notices("drift_differs")
    assert {"chief", "publisher_a"} <= {one.person_id for one in told}
    with watch.ledger.reading() as session:
        entries = session.exec(select(Audit).where(Audit.event == "channel_drift")).all()
    assert [one.data["found"] for one in entries] == ["differs"]


async def test_hidden_change_of_a_page_is_seen_too(watch: Watch):
    await watch.publish()
    page = watch.page()
    page.write_text(page.read_text().replace("</main>", "<script src=//x.cn/a.js></script></main>"))

    assert (await watch.patrol(HALF_AN_HOUR)).drifted == 1


async def test_vanished_page_is_told(watch: Watch):
    await watch.publish()
    watch.page().unlink()

    assert (await watch.patrol(HALF_AN_HOUR)).drifted == 1
    assert watch.notices("drift_gone")


async def test_what_we_took_down_ourselves_is_no_drift(watch: Watch):
    course = await watch.publish()
    course.now = watch.now
    course.turn()
    course.act("chief", "retract", channels=["site"], reason="数据有误")
    publisher = Publisher(watch.ledger, watch.channels, lambda: watch.now)
    ref = PublicationRef(submission_id=course.id, channel="site", generation=1)
    await ActivityEnvironment().run(publisher.publish, ref)

    found = await watch.patrol(HALF_AN_HOUR)

    assert (found.read, found.drifted, found.uncovered) == (0, 0, 0)


async def test_page_that_nobody_authorised_is_a_lead(watch: Watch):
    """R5.3-4."""
    await watch.publish()
    (watch.root / "item" / "2026-999999.html").write_text("<p>未经审核</p>")

    found = [(await watch.patrol()).uncovered, (await watch.patrol()).uncovered]

    (lead,) = watch.leads()
    assert lead.kind == 4
    assert found == [1, 0]
    assert watch.notices("post_uncovered")


async def test_article_changed_by_hand_is_told_and_styles_are_not(on_wechat):
    watch, platform = on_wechat
    await watch.publish("wx")
    assert (await watch.patrol(HALF_AN_HOUR)).drifted == 0

    (article,) = platform.articles.values()
    article["content"] = article["content"].replace("3个市", "4个市")

    assert (await watch.patrol(timedelta(days=1))).drifted == 1


async def test_article_posted_beside_us_is_a_lead_and_ours_is_not(on_wechat):
    watch, platform = on_wechat
    await watch.publish("wx")
    assert (await watch.patrol()).uncovered == 0
    (ours,) = platform.articles.values()
    platform.articles["article-x"] = {**ours, "digest": "私自发布", "at": datetime.now(UTC)}
    platform.articles["article-old"] = {**ours, "at": datetime(2020, 1, 1, tzinfo=UTC)}

    assert (await watch.patrol()).uncovered == 1
    assert [lead.shown["reference"] for lead in watch.leads()] == ["article:article-x"]


async def test_platform_that_does_not_answer_is_asked_again_and_accuses_nobody(on_wechat):
    watch, platform = on_wechat
    await watch.publish("wx")
    platform.script = lambda _call, _n: "lose_before"

    found = await watch.patrol(HALF_AN_HOUR)

    assert (found.unread, found.drifted) == (1, 0)
    platform.script = lambda _call, _n: None
    assert (await watch.patrol(timedelta(hours=1))).read == 1
    assert not watch.leads()


async def test_silent_channel_is_told_at_each_mark_once(watch: Watch):
    """T-4: 7, 10, 13 and 14 days."""
    await watch.publish()
    kinds = []
    for day in range(16):
        await watch.patrol(timedelta(days=1))
        for level in ("notice", "warning", "critical", "breach"):
            told = [
                n for n in watch.notices(f"channel_silent_{level}") if n.submission_id == "site"
            ]
            if told and level not in kinds:
                kinds.append(level)
                kinds.append(str(day + 1))
            assert len({n.person_id for n in told}) == len(told)

    assert kinds == ["notice", "7", "warning", "10", "critical", "13", "breach", "14"]


async def test_publications_carry_what_the_patrol_compares_by(watch: Watch):
    await watch.publish()

    with watch.ledger.reading() as session:
        (row,) = session.exec(select(Publication)).all()

    assert row.reference == f"{row.submission_id}-site-1"
