"""Push and 微信公众号 over real HTTP: each item once, whatever is lost, late or refused."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.connections import SHIPPED, Place, factories, installed
from activities.outgoing import AddressRefusedError, NotSentError, Outgoing
from activities.publish import Publisher
from activities.push import Push
from activities.wechat import Wechat
from review.blobs import Blobs
from review.rendering import render_claim, visible_text, wechat_article
from review.rules.publications import Claim, Connection, PublicationOutcome, PublicationRef
from review.rules.values import PublicationState
from tests.platforms import (
    APP_ID,
    APP_SECRET,
    COVER,
    SECRET,
    FakePush,
    FakeWechat,
    Platform,
    at,
)
from tests.publications import OnePublication, a_claim

LIVE, FAILED, UNKNOWN = PublicationState.LIVE, PublicationState.FAILED, PublicationState.UNKNOWN
ACCEPTED, RETRACTED = PublicationState.ACCEPTED, PublicationState.RETRACTED
REF = PublicationRef(submission_id="s1", channel="site", generation=1)
SHORT = "防火工作会议召开"


class Gone(Exception):
    """The worker is killed here."""


class Course:
    """One publication on one platform, with the engine's retries played by hand."""

    def __init__(self, platform: Platform, claim: Claim | None = None) -> None:
        self.outgoing = Outgoing([platform.address.removeprefix("http://")])
        self.platform = platform
        self.claim = claim or a_claim(platform=kind_of(platform), title=SHORT)
        self.ledger = OnePublication(self.claim)
        self.waits: list[float] = []
        self.fault: Callable[[str], None] = lambda _point: None
        self.blobs: Blobs | None = None

    async def connection(self, _channel: str) -> Connection:
        if isinstance(self.platform, FakePush):
            return Connection(address=f"{self.platform.address}/items", secret=SECRET)
        return Connection(
            address=self.platform.address,
            account=APP_ID,
            secret=APP_SECRET,
            options={"cover": COVER},
        )

    def channel(self) -> Push | Wechat:
        if isinstance(self.platform, FakePush):
            return Push(self.outgoing, self.connection, lambda: datetime.now(UTC))
        return Wechat(self.outgoing, self.connection, self.blobs.path if self.blobs else None)

    async def run(self, patience: int = 5) -> PublicationOutcome:
        """Try until the outcome is final; a new worker, without memory, for every try."""
        looks = 0
        for _ in range(30):
            publisher = Publisher(
                self.ledger,
                {self.claim.platform: self.channel()},
                lambda: datetime.now(UTC),
                fault=self.fault,
                confirm_after=(0.0,) * patience,
                blobs=self.blobs,
            )
            try:
                outcome = await ActivityEnvironment().run(
                    publisher.publish, REF.model_copy(update={"looks": looks})
                )
            except ApplicationError as error:
                if error.non_retryable:
                    raise
                if error.next_retry_delay is not None:
                    self.waits.append(error.next_retry_delay.total_seconds())
                continue
            except Gone:
                continue
            if outcome.wait_seconds is None:
                return outcome
            looks += 1
        raise AssertionError("it never ends")


def kind_of(platform: Platform) -> str:
    return "push" if isinstance(platform, FakePush) else "wechat"


@pytest.fixture
def wechat() -> Iterator[FakeWechat]:
    platform = FakeWechat()
    with platform.serving():
        yield platform


@pytest.fixture
def push() -> Iterator[FakePush]:
    platform = FakePush()
    with platform.serving():
        yield platform


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["push", "draft/add", "freepublish/submit"])
@pytest.mark.parametrize("fault", ["lose_before", "lose_after", "twice", 0.2])
async def test_item_is_there_once_or_unknown_whatever_happens_to_its_send(call, fault):
    """R1.3-2: never twice; where the platform can't tell, a person is asked."""
    platform = FakePush() if call == "push" else FakeWechat()
    platform.script = at(call, 0, fault=fault)
    with platform.serving():
        course = Course(platform)
        outcome = await course.run()

    assert sum(platform.shown.values()) == (0 if outcome.state == UNKNOWN else 1)
    lost_submission = (call, fault) == ("freepublish/submit", "lose_before")
    lost_answer = call == "freepublish/submit" and fault in ("lose_after", "twice")
    # A lost answer to a submission shows in the list only once the platform has published.
    assert outcome.state == (UNKNOWN if lost_submission or lost_answer else LIVE)


async def test_lost_answer_is_found_by_the_mark_once_it_is_out(wechat):
    wechat.script = at("freepublish/submit", 0, fault="lose_after")
    course = Course(wechat)
    course.fault = lambda _point: wechat.review_all()

    outcome = await course.run()

    assert outcome.state == LIVE
    assert course.ledger.receipts[-1].reference.startswith("article:")
    assert wechat.calls["freepublish/submit"] == 1


@pytest.mark.parametrize("kind", ["push", "wechat"])
@pytest.mark.parametrize("kill", range(6))
async def test_worker_killed_between_any_two_steps_publishes_once(kind: str, kill: int):
    platform = FakePush() if kind == "push" else FakeWechat(reviews_for=0)
    points = iter(range(100))

    def fall(_point: str) -> None:
        if next(points) == kill:
            raise Gone

    with platform.serving():
        course = Course(platform)
        course.fault = fall
        outcome = await course.run()

    if (kind, kill) == ("wechat", 3):  # it fell before the submission; nobody can know that
        assert outcome.state == UNKNOWN
        assert not platform.shown
        return
    assert outcome.state == LIVE
    assert list(platform.shown.values()) == [1]
    if isinstance(platform, FakeWechat):
        assert platform.calls["freepublish/submit"] == 1
        assert platform.calls["draft/add"] == 1


@pytest.mark.parametrize(
    ("kind", "call", "answer"), [("push", "push", 429), ("wechat", "freepublish/submit", 45009)]
)
async def test_quota_is_waited_for_by_the_engine_and_not_in_doubt(kind, call, answer):
    platform = FakePush() if kind == "push" else FakeWechat()
    platform.script = at(call, 0, 1, fault=answer)
    with platform.serving():
        course = Course(platform)
        outcome = await course.run()

    assert outcome.state == LIVE
    assert course.waits == ([300.0] * 2 if kind == "push" else [3600.0] * 2)
    details = [one.detail for one in course.ledger.receipts]
    assert details.count("publication.platform_busy") == 2


@pytest.mark.parametrize(
    ("kind", "call", "answer", "detail"),
    [
        ("push", "push", 422, "publication.receiver_refused"),
        ("wechat", "draft/add", 45002, "publication.text_too_long"),
        ("wechat", "draft/add", 48001, "publication.wechat_account"),
        ("wechat", "freepublish/submit", 53503, "publication.wechat_refused"),
    ],
)
async def test_refusal_for_good_is_failed_with_the_platforms_code(kind, call, answer, detail):
    platform = FakePush() if kind == "push" else FakeWechat()
    platform.script = at(call, 0, fault=answer)
    with platform.serving():
        course = Course(platform)
        outcome = await course.run()

    assert (outcome.state, outcome.detail) == (FAILED, detail)
    assert course.ledger.receipts[-1].said == str(answer)
    assert not platform.shown


@pytest.mark.parametrize("kind", ["push", "wechat"])
async def test_channel_without_registration_fails_and_says_so(kind, push, wechat):
    course = Course(push if kind == "push" else wechat)

    async def nothing(_channel: str) -> Connection:
        from activities.outgoing import NotConnectedError

        raise NotConnectedError

    course.connection = nothing  # type: ignore[method-assign]

    assert (await course.run()).detail == "publication.not_connected"


# --- push -----------------------------------------------------------------------------------------


async def test_push_is_signed_and_its_receipt_kept(push):
    course = Course(push)

    await course.run()

    receipt = course.ledger.receipts[-1]
    assert (receipt.reference, receipt.url) == ("cms-1", "https://www.example.cn/a/2026-000123")
    assert push.held["s1-site-1"]["content"].encode() == render_claim(course.claim).content


async def test_push_that_is_reviewed_is_asked_for_until_it_is_live():
    platform = FakePush(reviews=True)
    with platform.serving():
        course = Course(platform)
        assert (await course.run()).state == LIVE

    assert [one.state for one in course.ledger.receipts] == [ACCEPTED, LIVE]


async def test_push_is_retracted(push):
    course = Course(push)
    await course.run()
    retraction = course.claim.model_copy(update={"deed": "retract", "state": LIVE})
    course.ledger.claim = retraction

    assert (await course.run()).state == RETRACTED
    assert push.held["s1-site-1"]["content"] == ""


# --- 微信公众号 -----------------------------------------------------------------------------------


async def test_article_is_cut_from_the_approved_bytes_alone(wechat):
    """R1.3-6: what was proofed is what is sent."""
    course = Course(wechat)

    await course.run()

    (article,) = wechat.articles.values()
    sent = wechat_article(render_claim(course.claim).content)
    assert {name: article[name] for name in sent} == sent
    assert article["title"] == SHORT and "压实责任" in article["content"]


async def test_title_over_the_platforms_limit_is_never_sent(wechat):
    course = Course(wechat, a_claim(platform="wechat", title="长" * 33))

    outcome = await course.run()

    assert outcome.detail == "publication.title_too_long"
    assert not wechat.calls


async def test_gate_that_closes_between_draft_and_submission_keeps_it_unpublished(wechat):
    """R1.3-2: each step of a send passes the gate anew."""
    course = Course(wechat)

    def close(point: str) -> None:
        if point == "before_record":
            course.ledger.claim = course.ledger.claim.model_copy(update={"may_send": False})

    course.fault = close

    outcome = await course.run()

    assert (outcome.state, outcome.detail) == (FAILED, "publication.gate_closed")
    assert wechat.calls["draft/add"] == 1
    assert wechat.calls["freepublish/submit"] == 0 and not wechat.shown


async def test_ended_token_is_renewed_and_two_workers_share_one(wechat):
    course, other = Course(wechat), Course(wechat)
    await course.run()
    channel = other.channel()
    await channel.lookup(other.claim.model_copy(update={"state": UNKNOWN}))
    assert wechat.calls["stable_token"] and wechat.forced == 0

    wechat.expire_tokens()
    found = await channel.lookup(other.claim.model_copy(update={"state": UNKNOWN}))

    assert found is not None and found.state == LIVE
    assert len(wechat.tokens) == 1 and wechat.forced == 0


@pytest.mark.parametrize("verdict", [2, 3, 4])
async def test_platforms_own_review_may_refuse(verdict: int):
    platform = FakeWechat(verdict=verdict, reviews_for=3)
    with platform.serving():
        course = Course(platform)
        outcome = await course.run()

    assert (outcome.state, outcome.detail) == (FAILED, "publication.wechat_failed")
    assert course.ledger.receipts[-1].said == f"publish_status={verdict}"


async def test_unconfirmed_submission_ends_as_unknown_and_is_not_sent_again():
    platform = FakeWechat(reviews_for=10**6)
    with platform.serving():
        course = Course(platform)
        outcome = await course.run(patience=2)

    assert (outcome.state, outcome.detail) == (UNKNOWN, "publication.confirmation_overdue")
    assert platform.calls["freepublish/submit"] == 1


async def test_next_generation_finds_what_was_thought_to_have_failed(wechat):
    """A person who was wrong about an unknown outcome makes no second post."""
    first = Course(wechat)
    await first.run()
    second = Course(wechat, first.claim.model_copy(update={"generation": 2}))

    assert (await second.run()).state == LIVE
    assert list(wechat.shown.values()) == [1]


async def test_correction_takes_the_old_article_down_before_the_new_one_goes_out(wechat):
    """A-24."""
    first = Course(wechat)
    await first.run()
    old = first.ledger.receipts[-1].reference
    corrected = a_claim(
        platform="wechat",
        title=SHORT,
        body="更正后的正文。",
        digest="sha256:" + "cd" * 32,
        generation=2,
        correction_of=1,
        replaces=old,
    )
    second = Course(wechat, corrected)

    assert (await second.run()).state == LIVE
    standing = [one["content"] for one in wechat.articles.values() if not one["is_deleted"]]
    assert len(standing) == 1 and "更正后的正文" in standing[0]


@pytest.mark.parametrize("fault", [None, "lose_after", "twice", "lose_before"])
async def test_article_is_taken_down_whatever_happens_to_the_call(wechat, fault):
    course = Course(wechat)
    await course.run()
    wechat.script = at("freepublish/delete", 0, fault=fault)
    course.ledger.claim = course.ledger.claim.model_copy(update={"deed": "retract"})

    assert (await course.run()).state == RETRACTED
    assert [one["is_deleted"] for one in wechat.articles.values()] == [True]


async def test_published_article_reads_back_as_the_approved_text(wechat):
    course = Course(wechat)
    await course.run()

    seen = await course.channel().read(course.ledger.claim)

    assert seen is not None
    approved = visible_text(render_claim(course.claim).content.decode())
    assert visible_text(seen.content.decode()) == approved


# --- pictures -------------------------------------------------------------------------------------


PNG = b"\x89PNG\r\n\x1a\n"  # the clean-up before review looks at the rest


def an_illustrated_course(
    platform: FakeWechat, folder: Path, *contents: bytes, **changes: Any
) -> Course:
    attachments = []
    blobs = Blobs(folder)
    for number, content in enumerate(contents):
        about = {
            "form": "image", "sha256": blobs.put(content), "caption": f"图{number}",
            "media_type": "image/png", "size": len(content),
        }  # fmt: skip
        attachments.append(about | changes)
    course = Course(
        platform, a_claim(platform="wechat", title=SHORT, attachments=tuple(attachments))
    )
    course.blobs = blobs
    return course


async def test_reviewed_pictures_go_up_and_the_first_is_the_cover(wechat, tmp_path):
    """R1.3-6, R3.1-1: the bytes that were reviewed, where the preview showed them."""
    course = an_illustrated_course(wechat, tmp_path, PNG + b"1", PNG + b"2", PNG + b"1")

    outcome = await course.run()

    assert outcome.state == LIVE
    assert list(wechat.pictures.values()) == [PNG + b"1", PNG + b"2"]  # each once
    (article,) = wechat.articles.values()
    assert wechat.materials[article["thumb_media_id"]] == PNG + b"1"
    first, second = (escape(address) for address in wechat.pictures)
    assert article["content"].count(f'<img src="{first}" alt="图0">') == 1
    assert article["content"].count(f'<img src="{second}" alt="图1">') == 1
    assert "../files" not in article["content"]
    seen = await course.channel().read(course.ledger.claim)
    approved = visible_text(render_claim(course.claim).content.decode())
    assert seen is not None and visible_text(seen.content.decode()) == approved


@pytest.mark.parametrize("fault", ["lose_before", "lose_after", "twice", 45009, 40001])
@pytest.mark.parametrize("call", ["material/add_material", "media/uploadimg"])
async def test_trouble_with_a_picture_still_shows_the_article_once(call, fault, tmp_path):
    platform = FakeWechat(at(call, 0, fault=fault))
    with platform.serving():
        course = an_illustrated_course(platform, tmp_path, PNG)
        outcome = await course.run()

    assert outcome.state == LIVE and list(platform.shown.values()) == [1]
    assert platform.calls["draft/add"] == platform.calls["freepublish/submit"] == 1
    (article,) = platform.articles.values()
    assert article["content"].count("<img ") == 1


@pytest.mark.parametrize("call", ["material/add_material", "media/uploadimg"])
@pytest.mark.parametrize("code", [40005, 40009, 45001])
async def test_picture_the_platform_will_not_have_publishes_nothing(call, code, tmp_path):
    platform = FakeWechat(at(call, 0, fault=code))
    with platform.serving():
        outcome = await an_illustrated_course(platform, tmp_path, PNG).run()

    assert (outcome.state, outcome.detail) == (FAILED, "publication.wechat_picture")
    assert platform.calls["draft/add"] == 0


async def test_picture_that_is_not_the_reviewed_one_never_leaves(wechat, tmp_path):
    course = an_illustrated_course(wechat, tmp_path, PNG)
    rendered = render_claim(course.claim)
    course.blobs.path(sha256(PNG).hexdigest()).write_bytes(PNG + b"another")

    # By the publisher's check of every file, and by the channel's own of the bytes it sends.
    outcome = await course.run()
    receipt = await course.channel().publish(course.claim, rendered, datetime.now(UTC))

    assert outcome.detail == receipt.detail == "publication.attachment_missing"
    assert not wechat.pictures and wechat.calls["draft/add"] == 0


@pytest.mark.parametrize(
    "change", [{"size": 1_000_000}, {"media_type": "image/gif"}, {"background": True}]
)
async def test_picture_an_article_can_not_show_is_named_at_most(change, wechat, tmp_path):
    """R5.1-1: background material is not even named."""
    outcome = await an_illustrated_course(wechat, tmp_path, PNG, **change).run()

    (article,) = wechat.articles.values()
    assert outcome.state == LIVE and article["thumb_media_id"] == COVER
    assert not wechat.pictures and "<img" not in article["content"]
    assert ("附件：图0" in article["content"]) == ("background" not in change)


# --- the way out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "https://127.0.0.1:1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://localhost/",
        "http://www.example.cn/",
        "ftp://www.example.cn/",
        "https://user:pass@www.example.cn/",
    ],
)
async def test_inner_and_plain_addresses_are_refused(url: str):
    """Design, edges: SSRF."""
    outgoing = Outgoing()
    with pytest.raises(AddressRefusedError):
        await outgoing.request("GET", url)
    await outgoing.aclose()


async def test_only_the_named_port_of_an_inner_host_is_spoken_to(push):
    outgoing = Outgoing([push.address.removeprefix("http://")])
    assert (await outgoing.request("GET", f"{push.address}/items/x")).status == 404
    with pytest.raises(AddressRefusedError):
        await outgoing.request("GET", "http://127.0.0.1:1/")
    await outgoing.aclose()


async def test_silence_of_a_closed_port_is_surely_not_sent():
    outgoing = Outgoing(["127.0.0.1"])
    with pytest.raises(NotSentError):
        await outgoing.request("GET", "http://127.0.0.1:1/")
    await outgoing.aclose()


# --- installing -----------------------------------------------------------------------------------


def test_shipped_channels_are_the_registered_ones():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    registered = project["project"]["entry-points"]["sanshen.channels"]
    assert registered == {name: f"activities.connections:{name}" for name in SHIPPED}


def test_unit_adds_a_channel_by_an_entry_point(tmp_path, monkeypatch):
    package = tmp_path / "their_channel-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: their-channel\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[sanshen.channels]\nkiosk = their_channel:make\n")
    (tmp_path / "their_channel.py").write_text("def make(place):\n    return place.public_url\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def connect(_channel: str) -> Connection:
        return Connection()

    place = Place(tmp_path, "https://example.cn", lambda d: tmp_path / d, Outgoing(), connect)

    assert set(factories()) == {*SHIPPED, "kiosk"}
    assert installed(place)["kiosk"] == "https://example.cn"
