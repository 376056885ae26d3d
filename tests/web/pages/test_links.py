"""From a letter to a decision without any session: the page, its press, and what it gives away."""

import logging
import re
from datetime import timedelta

import httpx
import pyotp
import pytest
import structlog
from sqlmodel import SQLModel, select

from activities.mailbox import SmtpMailbox
from activities.notify import Notifier
from review.records import access
from review.records.access import Access
from review.records.tables import Decision, PersonRow
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.acting import Course, warnings_of
from tests.activities.mail_server import Post, certificate, serving
from tests.examples import CHECKLIST
from tests.web.pages.conftest import hidden_of, words_of
from tests.web.pages.everywhere import LINK_LASTS as LASTS
from tests.web.pages.everywhere import link_of

HEAD = "afforest_head"
TITLE = "全省秋冬季造林绿化现场推进会召开"
TICKS = {"verdict": "approve", "checklist": list(CHECKLIST)}


def decided(course):
    with course.ledger.reading() as session:
        return session.exec(select(Decision).where(Decision.submission_id == course.id)).all()


def contents(ledger):
    with ledger.reading() as session:
        return {
            name: sorted(repr(tuple(row)) for row in session.execute(table.select()))
            for name, table in SQLModel.metadata.tables.items()
        }


async def press(client, path, page=None, **fields):
    page = page or (await client.get(path)).text
    return await client.post(path, data=hidden_of(page, "decision") | TICKS | fields)


@pytest.fixture
def client(browser):
    return browser().client


async def test_a_letter_over_smtp_leads_to_a_decision_without_a_session(
    course, client, tmp_path, monkeypatch, caplog
):
    public, _ = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))

    def address(session):
        row = session.get_one(PersonRow, HEAD)
        row.email = f"{HEAD}@bureau.example"
        session.add(row)

    course.ledger.write(address)
    post = Post()
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs, serving(post, tmp_path) as url:
        notifier = Notifier(
            course.ledger, SmtpMailbox(url), lambda: course.now, public_url="http://test",
            sender="sanshen@bureau.example", links_last=LASTS,
        )  # fmt: skip
        await notifier.deliver()
        [letter] = post.to(f"{HEAD}@bureau.example")
        [plain, page] = [letter.get_body((kind,)).get_content() for kind in ("plain", "html")]
        [path] = set(re.findall(r"http://test(/l/[\w-]{43})\b", plain))
        assert f"http://test{path}" in page and "一次" in plain

        answer = await press(client, path)
        assert answer.status_code == 200 and "意见已提交" in words_of(answer.text)

    [made] = decided(course)
    assert (made.person_id, made.way_in, made.verdict) == (HEAD, "link", "approve")
    assert not client.cookies and "set-cookie" not in answer.headers
    token = path.removeprefix("/l/")
    theirs = ("httpx", "mail.log")  # the caller's and the mail server's, which may know it
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith(theirs)]
    assert token not in repr(logs) + repr(ours)
    assert token not in repr(contents(course.ledger))


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("GET", {}), ("HEAD", {}), ("OPTIONS", {}), ("PUT", {}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"User-Agent": "Barracuda Sentinel (EE)", "Sec-Fetch-Site": "cross-site"}),
        ("GET", {"X-HTTP-Method-Override": "POST"}),
    ],
)  # fmt: skip
async def test_looking_changes_nothing_in_any_table(course, client, method, more):
    path = link_of(course)
    before = contents(course.ledger)

    for query in ("", "?verdict=approve", "?lang=en"):
        await client.request(method, path + query, headers=more)

    assert contents(course.ledger) == before


async def test_the_page_shows_what_is_decided_chooses_nothing_and_leaks_no_address(course, client):
    answer = await client.get(link_of(course))

    assert answer.status_code == 200
    assert TITLE in answer.text and course.row().digest in answer.text
    form = re.search(r'<form id="decision".*?</form>', answer.text, re.DOTALL)[0]
    assert "checked" not in form and "<script" not in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "noindex" in answer.headers["x-robots-tag"]


async def test_the_same_press_answers_alike_and_another_is_refused(course, client):
    path = link_of(course)
    page = (await client.get(path)).text

    first, again = [await press(client, path, page) for _ in range(2)]
    other = await press(client, path, page, verdict="return", reason_code="facts", opinion="改")

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 410)
    assert words_of(first.text) == words_of(again.text)
    assert "不能再改" in words_of(other.text) and len(decided(course)) == 1
    assert (await client.get(path)).status_code == 410


@pytest.mark.parametrize("form", ["", "00" * 60, "zz", "other"])
async def test_a_form_that_is_not_of_this_links_page_decides_nothing(course, client, form):
    path = link_of(course)
    if form == "other":
        form = hidden_of((await client.get(link_of(course))).text, "decision")["form"]

    answer = await press(client, path, form=form)

    assert answer.status_code == 403 and not decided(course)


async def test_another_sites_form_decides_nothing(course, client):
    path = link_of(course)
    page = (await client.get(path)).text
    answer = await client.post(
        path, data=hidden_of(page, "decision") | TICKS, headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status_code == 403 and not decided(course)


async def test_what_the_link_fixes_is_no_field_of_the_form(course, client):
    answer = await press(
        client, link_of(course), step="second_review", digest="sha256:" + "0" * 64, round="9",
        unit="fire", decision_id="mine", submission_id="other",
    )  # fmt: skip

    [made] = decided(course)
    assert answer.status_code == 200
    assert (made.key, made.digest, made.id[:5]) == ("unit_review", course.row().digest, "link-")


async def test_a_form_without_a_verdict_is_shown_again_with_what_was_typed(course, client):
    for fields in ({"verdict": ""}, {"verdict": "publish"}, {"verdict": "reject", "opinion": ""}):
        path = link_of(course)
        answer = await press(client, path, **{"opinion": "写了一半"} | fields)

        assert answer.status_code == 422 and not decided(course), fields
    assert '<form id="decision"' in answer.text


async def test_a_link_says_calmly_who_decided_and_what_changed(course, client):
    path = link_of(course)
    course.decide(HEAD, "unit_review")
    page = await client.get(path)
    assert page.status_code == 410 and "对这个环节作出意见" in words_of(page.text)
    assert (await client.post(path, data=TICKS)).status_code == 410

    course.turn()
    later = link_of(course, "editor_a")
    course.edit("editor_a", title="全省秋冬季造林绿化现场会召开", change="wording")
    page = await client.get(later)
    assert page.status_code == 410 and "只对原来的版本有效" in words_of(page.text)
    assert "造林绿化现场会" not in page.text


async def test_a_closed_account_gets_nothing_of_the_item(course, client):
    path = link_of(course)
    course.ledger.write(lambda s: access.disable(s, HEAD, course.now))

    for answer in (await client.get(path), await client.post(path, data=TICKS)):
        assert answer.status_code == 410 and TITLE not in answer.text
    assert not decided(course)


@pytest.mark.parametrize(
    "token", ["x", "A" * 43, "A" * 42, "A" * 44, "%00" * 43, "<script>alert(1)</script>", "é" * 43]
)
async def test_made_up_tokens_get_one_calm_page(course, client, token):
    for answer in (await client.get(f"/l/{token}"), await client.post(f"/l/{token}", data=TICKS)):
        assert answer.status_code == 404 and "<script>alert" not in answer.text


async def test_whoever_tries_many_tokens_is_told_to_wait(course, client):
    answers = [(await client.post(f"/l/{n:043d}", data=TICKS)).status_code for n in range(101)]

    assert answers == [404] * 100 + [429]


async def test_turned_off_a_link_decides_nothing(course, quick_ledger, tmp_path):
    path = link_of(course)
    settings = Settings(
        data=tmp_path, secret_key="s" * 32, decision_link_hours=0, _env_file=None
    )  # fmt: skip
    app = create_app(
        Reviews(quick_ledger, None, clock=lambda: course.now),
        Access(quick_ledger, clock=lambda: course.now), settings,
    )  # fmt: skip
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        assert (await client.get(path)).status_code == 410
        assert (await client.post(path, data=TICKS)).status_code == 410
    assert not decided(course)


async def test_the_gravest_show_nothing_before_a_second_factor(course, app, client):
    grave = Course(
        course.ledger, "fire_info", now=course.now, category="emergency",
        event_time="2026-11-23T08:30:00+08:00",
    )  # fmt: skip
    grave.turn()
    path = link_of(grave, "fire_head")
    door, now = app.state.access, course.now + timedelta(minutes=1)

    # without one there is no way by link
    def join_early(session):
        row = session.get_one(PersonRow, "fire_head")
        row.created_at = course.now - timedelta(days=365)
        session.add(row)

    course.ledger.write(join_early)
    page = await client.get(path)
    assert page.status_code == 200 and TITLE not in page.text and "<form method" in page.text
    assert 'name="otp"' not in page.text
    await client.post(path, data=TICKS)
    assert not decided(grave)

    secret = door.begin_second_factor("fire_head").secret
    door.confirm_second_factor("fire_head", pyotp.TOTP(secret).at(now), "")
    path = link_of(grave, "fire_head")  # the earlier one ended with the sessions
    page = (await client.get(path)).text
    assert TITLE not in page and 'name="otp"' in page
    form = re.search(r'name="form" value="(\w+)"', page)[1]
    weak = await client.post(path, data=TICKS | {"form": form})
    wrong = await client.post(path, data={"form": form, "otp": "000000"})
    assert TITLE not in weak.text + wrong.text and wrong.status_code == 401
    assert not decided(grave)

    right = pyotp.TOTP(secret).at(now + timedelta(seconds=30))
    page = await client.post(path, data={"form": form, "otp": right})
    assert page.status_code == 200 and TITLE in page.text and not decided(grave)
    again = await client.post(path, data={"form": form, "otp": right})
    assert again.status_code == 401, "a code counts once"
    ticked = {"findings_seen": warnings_of(course.ledger, grave.id)}
    assert (await press(client, path, page.text, **ticked)).status_code == 200
    assert [one.person_id for one in decided(grave)] == ["fire_head"]


async def test_scripts_in_a_text_are_shown_as_text(quick_ledger, course, client):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    other = Course(
        quick_ledger, now=course.now, title="造林<b>现场</b>推进会", body=evil + "开会。"
    )
    other.turn()

    page = (await client.get(link_of(other))).text

    assert "<script>alert" not in page and "<img src=x" not in page and "<b>现场" not in page
