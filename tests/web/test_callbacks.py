"""Callbacks of 公众号: sealed and fresh or refused, and even then they only have us ask."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from review.acts.connecting import PURPOSE, callback_keys, connect_channel
from review.envelopes import Envelope, texts_in
from review.records.engine import Ledger
from review.records.kept import Box
from review.records.tables import Channel
from review.rules.errors import MalformedError, NotSignedInError
from review.rules.publications import Connection
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.examples import MONDAY
from tests.platforms import APP_ID, callback, publish_finished, sealed, signed

SECRET = b"s" * 48
TOKEN, AES_KEY = callback_keys(SECRET, "wx")
ADDRESS = "/hooks/wechat/wx"

# The vectors that 企业微信 publishes with its sample libraries.
SAMPLE = Envelope("QDG6eK", "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", "wx5823bf96d3bd56c7")
GREETED = {
    "signature": "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
    "timestamp": "1409659589",
    "nonce": "263014780",
    "sealed": "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvna"
    "qQ==",
}
MESSAGE = {
    "signature": "477715d11cdb4164915debcba66cb864d751f3e6",
    "timestamp": "1409659813",
    "nonce": "1372623149",
    "sealed": "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3"
    "QczcdCUpj911L3vg3W/sYYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd"
    "4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqC"
    "KIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0M"
    "BH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8"
    "R07+qN+E7Q==",
}


@pytest.mark.parametrize("vector", [GREETED, MESSAGE], ids=["greeting", "message"])
def test_published_vectors_are_understood(vector: dict[str, str]):
    at = datetime.fromtimestamp(int(vector["timestamp"]), UTC)
    SAMPLE.check(**vector, now=at)

    said = SAMPLE.opened(vector["sealed"])
    if vector is GREETED:
        assert said == b"1616140317555161061"
    else:
        assert texts_in(said)["ToUserName"] == "wx5823bf96d3bd56c7"
        assert texts_in(said)["MsgType"] == "text"


@pytest.mark.parametrize("part", ["signature", "timestamp", "nonce", "sealed"])
def test_no_part_of_a_vector_can_be_changed(part: str):
    at = datetime.fromtimestamp(int(MESSAGE["timestamp"]), UTC)
    changed = MESSAGE | {part: ("2" if MESSAGE[part][0] == "1" else "1") + MESSAGE[part][1:]}

    with pytest.raises(NotSignedInError):
        SAMPLE.check(**changed, now=at)


@pytest.mark.parametrize("late", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_old_and_early_ones_are_refused(late: timedelta):
    at = datetime.fromtimestamp(int(MESSAGE["timestamp"]), UTC)

    with pytest.raises(NotSignedInError):
        SAMPLE.check(**MESSAGE, now=at + late)


def test_what_is_for_another_account_or_wrongly_padded_is_not_opened():
    mine = Envelope(TOKEN, AES_KEY, APP_ID)
    other = callback_keys(SECRET, "other")[1]
    bad = ["", "AAAA", "not base64!", sealed(AES_KEY, "wxother", "<xml/>"),
           sealed(AES_KEY, APP_ID + "x", "<xml/>"), sealed(other, APP_ID, "<xml/>"),
           sealed(AES_KEY, APP_ID, "<xml/>")[:-44] + "="]  # fmt: skip

    assert mine.opened(sealed(AES_KEY, APP_ID, "<xml/>")) == b"<xml/>"
    for one in bad:
        with pytest.raises(NotSignedInError):
            mine.opened(one)


@pytest.mark.parametrize(
    "xml",
    [
        b"", b"<", b"{}", b"\xff\xfe", b"<xml>&a;</xml>",
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><xml><Event>&a;</Event></xml>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><xml/>",
    ],
)  # fmt: skip
def test_xml_that_could_swell_or_fetch_is_refused(xml: bytes):
    with pytest.raises(MalformedError):
        texts_in(xml)


# --- over HTTP ------------------------------------------------------------------------------------


class Asked(Reviews):
    """Notes which jobs the platform was to be asked about."""

    jobs: list[tuple[str, str]]

    async def ask_platform_now(self, channel: str, job: str) -> bool:
        self.jobs.append((channel, job))
        return await super().ask_platform_now(channel, job)


@pytest.fixture
def reviews(quick_ledger: Ledger) -> Asked:
    def open_it(session: Any) -> None:
        session.add(Channel(id="wx", name="微信", platform="wechat", operator_unit_id="center"))
        session.flush()
        connection = Connection(account=APP_ID, secret="x")
        connect_channel(session, "wx", connection, Box(SECRET, PURPOSE), MONDAY)

    quick_ledger.write(open_it)
    found = Asked(quick_ledger, None, clock=lambda: MONDAY, secret=SECRET)
    found.jobs = []
    return found


@pytest.fixture
async def web(
    reviews: Asked, quick_ledger: Ledger, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    from review.records.access import Access

    settings = Settings(data=tmp_path, secret_key=SECRET.decode(), _env_file=None)
    app = create_app(reviews, Access(quick_ledger, secret=SECRET), settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_address_greets_the_platform_and_nobody_else(web):
    stamp, nonce = str(int(MONDAY.timestamp())), "n1"
    right = {"signature": signed(TOKEN, stamp, nonce), "timestamp": stamp, "nonce": nonce,
             "echostr": "5927782489442352469"}  # fmt: skip

    answer = await web.get(ADDRESS, params=right)
    assert (answer.status_code, answer.text) == (200, "5927782489442352469")
    assert answer.headers["content-type"].startswith("text/plain")
    for wrong, status in (
        ({"signature": "0" * 40}, 401), ({"nonce": "n2"}, 401), ({"timestamp": "1"}, 401),
        ({"timestamp": "x"}, 401), ({"echostr": "<b>"}, 422), ({"signature": "签"}, 401),
        ({"echostr": "1" * 201}, 422),
    ):  # fmt: skip
        assert (await web.get(ADDRESS, params=right | wrong)).status_code == status, wrong
    for address in ("/hooks/wechat/site", "/hooks/wechat/none"):
        assert (await web.get(address, params=right)).status_code == 404


async def test_outcome_of_a_publication_has_us_ask_and_a_repeat_does_no_harm(web, reviews):
    query, body = callback(TOKEN, AES_KEY, APP_ID, publish_finished("2247503051"), MONDAY)

    for _ in range(2):
        answer = await web.post(ADDRESS, params=query, content=body)
        assert (answer.status_code, answer.text) == (200, "success")
    assert reviews.jobs == [("wx", "2247503051")] * 2


@pytest.mark.parametrize(
    "xml",
    [
        "<xml><MsgType>text</MsgType><Content>读者的话</Content></xml>",
        publish_finished("1:%"), publish_finished(""),
        "<xml><Event>PUBLISHJOBFINISH</Event></xml>",
    ],
)  # fmt: skip
async def test_what_is_about_no_publication_leaves_nothing(web, reviews, capsys, xml):
    query, body = callback(TOKEN, AES_KEY, APP_ID, xml, MONDAY)

    assert (await web.post(ADDRESS, params=query, content=body)).status_code == 200
    assert reviews.jobs == []
    assert "读者的话" not in capsys.readouterr().out


async def test_forged_open_and_foreign_callbacks_are_refused(web, reviews):
    finished = publish_finished("2247503051")
    query, body = callback(TOKEN, AES_KEY, APP_ID, finished, MONDAY)
    old = callback(TOKEN, AES_KEY, APP_ID, finished, MONDAY - timedelta(minutes=6))
    foreign = callback(TOKEN, AES_KEY, "wxother", finished, MONDAY)
    theirs = callback(*callback_keys(SECRET, "other"), APP_ID, finished, MONDAY)
    not_xml = callback(TOKEN, AES_KEY, APP_ID, "{}", MONDAY)
    for status, sent in (
        (401, (query | {"msg_signature": "0" * 40}, body)),
        (401, ({}, body)),
        (401, (query, finished)),  # 明文模式
        (401, (query, body.replace("CDATA[", "CDATA[A", 2))),
        (401, old), (401, foreign), (401, theirs), (422, not_xml), (422, (query, "{}")),
        (422, (query, "")), (413, (query, "x" * 70_000)),
    ):  # fmt: skip
        answer = await web.post(ADDRESS, params=sent[0], content=sent[1])
        assert answer.status_code == status, sent
    assert reviews.jobs == []


def test_each_channel_and_secret_has_keys_of_its_own():
    assert callback_keys(SECRET, "wx") == callback_keys(SECRET, "wx")
    others = {callback_keys(SECRET, "wy"), callback_keys(b"t" * 48, "wx")}
    assert len(others | {(TOKEN, AES_KEY)}) == 3
    assert TOKEN.isalnum() and AES_KEY.isalnum() and (len(TOKEN), len(AES_KEY)) == (32, 43)
