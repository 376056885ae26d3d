"""Ways of notices over HTTP and as pages: my own, from what I may choose, never an address."""

import json

import httpx
import pytest
from sqlmodel import select

from review.acts.duty import ShiftLine, Shifts, import_shifts
from review.notice_ways import named_ways, wrong_with_own
from review.records.access import Access, issue_token, open_session
from review.records.tables import Audit, IdempotencyKey, PersonRow
from review.records.ways import NoticeChoice, NoticeWay
from review.settings import Settings, SettingsError
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.examples import MONDAY
from tests.web.pages.conftest import Browser

GEHEIM = "geheim0123456789"
FILE = f"""ways:
  - {{id: group, name: 值班群, url: "wecombot://{GEHEIM}"}}
  - {{id: closed, name: 处室群, url: "feishu://{GEHEIM}", people: [fire_head]}}
"""


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "ways.yaml"
    file.write_text(FILE)
    return Settings(
        data=tmp_path, secret_key="s" * 32, public_url="http://test", notice_ways=file,
        notify_urls=f"https://oapi.dingtalk.com/robot/send?access_token={GEHEIM}", _env_file=None,
    )  # fmt: skip


@pytest.fixture
async def api(quick_ledger, settings):
    """A function that opens the interface as a person."""
    app = create_app(
        Reviews(quick_ledger, None, clock=lambda: MONDAY),
        Access(quick_ledger, clock=lambda: MONDAY, secret=b"s" * 32), settings,
    )  # fmt: skip
    opened = []

    def of(person):
        token = quick_ledger.write(issue_token, person, "t", MONDAY)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test",
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        opened.append(client)
        return client

    of.app = app
    yield of
    for client in opened:
        await client.aclose()


def rows(ledger, table):
    with ledger.reading() as session:
        return session.exec(select(table)).all()


async def test_everybody_chooses_among_their_own(api, quick_ledger):
    head, other = api("fire_head"), api("afforest_head")
    chosen = {"choices": {"todo": ["named:closed", "mail"], "result": []}}

    before = (await head.get("/api/v1/me/notices")).json()
    taken = await head.post("/api/v1/me/notices", json=chosen)
    refused = await other.post("/api/v1/me/notices", json=chosen)
    after = (await head.get("/api/v1/me/notices")).json()
    seen = (await other.get("/api/v1/me/notices")).json()

    assert set(before["choices"]) == {"todo", "reminder", "escalation", "result", "digest"}
    assert all(ways == ["mail"] for ways in before["choices"].values())
    assert (taken.status_code, refused.status_code) == (200, 422)
    assert after["choices"]["todo"] == ["mail", "named:closed"]
    assert after["choices"]["result"] == []
    assert [one["way"] for one in seen["named"]] == ["named:group", "named:robot-1"]
    assert {one.person_id for one in rows(quick_ledger, NoticeChoice)} == {"fire_head"}


async def test_an_own_destination_is_never_shown_again(api, quick_ledger):
    head, other = api("fire_head"), api("afforest_head")
    own = {
        "name": "我的群",
        "url": f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={GEHEIM}",
    }

    made = await head.post("/api/v1/me/notices/ways", json=own, headers={"Idempotency-Key": "k"})
    again = await head.post("/api/v1/me/notices/ways", json=own, headers={"Idempotency-Key": "k"})
    changed = await head.post(
        "/api/v1/me/notices/ways", json=own | {"url": "feishu://other"},
        headers={"Idempotency-Key": "k"},
    )  # fmt: skip
    mine = await head.get("/api/v1/me/notices")
    taken = await other.post("/api/v1/me/notices", json={"choices": {"todo": [made.json()["way"]]}})
    removed_by_other = await other.delete(f"/api/v1/me/notices/ways/{made.json()['id']}")
    kept = str(rows(quick_ledger, NoticeWay) + rows(quick_ledger, IdempotencyKey))
    removed = await head.delete(f"/api/v1/me/notices/ways/{made.json()['id']}")

    assert (made.status_code, again.json(), changed.status_code) == (201, made.json(), 422)
    assert made.json()["scheme"] == "wecombot"
    assert (taken.status_code, removed_by_other.status_code) == (422, 404)
    assert removed.status_code == 200
    traced = str(rows(quick_ledger, Audit))
    for said in (made.text, mine.text, kept, traced):
        assert GEHEIM not in said
    assert [one.sealed for one in rows(quick_ledger, NoticeWay)] == [""]
    assert {one.event for one in rows(quick_ledger, Audit)} >= {
        "notice_way_added", "notice_way_removed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["json://127.0.0.1/x", "jsons://oa.internal/x", "syslog://", "mailto://a:b@c", "x", "",
     "wecombot://", "wecombot://a b", "wecombot://a\nb", "feishu://{username}", "http://[",
     "file:///etc/passwd", "wecombot://密钥", "dingtalk://x:0/"],
)  # fmt: skip
async def test_where_no_message_goes_is_refused_in_words(api, quick_ledger, url):
    answer = await api("fire_head").post("/api/v1/me/notices/ways", json={"name": "x", "url": url})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "url"
    assert rows(quick_ledger, NoticeWay) == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "127.0.0.1", "localhost", "[::1]", "169.254.169.254", "a.localhost"]
)
def test_nothing_inside_is_named_by_a_person(host):
    assert wrong_with_own(f"jsons://{host}/x", ("jsons",)) == "way_inside"
    assert wrong_with_own("jsons://hooks.example/x", ("jsons",)) is None


async def test_nobody_adds_without_end(api):
    head = api("fire_head")
    own = {"name": "x", "url": f"feishu://{GEHEIM}"}
    answers = [await head.post("/api/v1/me/notices/ways", json=own) for _ in range(6)]

    assert [one.status_code for one in answers] == [201] * 5 + [409]


async def test_the_page_works_without_script(api, quick_ledger):
    secret = quick_ledger.write(
        lambda s: open_session(
            s, "fire_head", s.get(PersonRow, "fire_head").password_hash, MONDAY, second_factor=True
        )
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(api.app), base_url="http://test",
        headers={"Accept": "text/html"},
    ) as client:  # fmt: skip
        client.cookies.set("sanshen_session", secret.secret)
        browser = Browser(client, secret.csrf)
        chosen = await browser.send("/notices/choose", todo=["mail", "named:group"], key="k1")
        added = await browser.send(
            "/notices/add", name="我的群", url=f"feishu://{GEHEIM}", key="k2"
        )
        odd = await browser.send("/notices/add", name="我的群", url="syslog://", key="k3")
        page = await browser.see("/notices")
        [way] = rows(quick_ledger, NoticeWay)
        gone = await browser.send("/notices/remove", way=way.id, key="k4")
        strange = await browser.send("/notices/choose", todo="named:none", key="k5")

    assert (chosen.status_code, added.status_code, gone.status_code) == (303, 303, 303)
    assert (odd.status_code, strange.status_code) == (422, 422)
    assert "我的群" in page and "值班群" in page and GEHEIM not in page
    assert page.count(" checked") == 2  # what the form didn't say is the inbox alone


async def test_administrators_see_the_named_and_nobody_an_address(api):
    seen = await api("admin").get("/api/v1/notice-ways")
    refused = await api("fire_head").get("/api/v1/notice-ways")

    assert [one["id"] for one in seen.json()["items"]] == ["group", "closed", "robot-1"]
    assert GEHEIM not in seen.text
    assert refused.status_code == 403


async def test_everybody_sees_who_is_on_duty(api, quick_ledger):
    evening, night = MONDAY.replace(hour=20), MONDAY.replace(hour=22)
    lines = [
        ShiftLine(unit="fire", person="fire_head", **{"from": MONDAY, "until": evening}),
        ShiftLine(person="duty", **{"from": evening, "until": night}),
    ]
    quick_ledger.write(import_shifts, Shifts(shifts=tuple(lines)), MONDAY)

    found = (await api("afforest_info").get("/api/v1/duty")).json()["items"]

    assert [(one["person"]["name"], one["now"]) for one in found] == [
        ("fire_head", True), ("duty", False),
    ]  # fmt: skip
    assert found[1]["unit"] is None


@pytest.mark.parametrize(
    "text",
    ["ways: [", "ways: {}", "ways: [{id: A B, name: x, url: 'json://x'}]", "way: []", "- 1",
     f"ways: [{{id: a, name: x, url: '{GEHEIM}'}}]",
     f"ways: [{{id: a, name: x, url: 'json://{GEHEIM}', key: 1}}]",
     f"ways: [{{id: a, name: x, url: 'json://{GEHEIM}'}}, {{id: a, name: y, url: 'json://x'}}]",
     "\udcff"],
)  # fmt: skip
def test_a_wrong_file_stops_the_start_in_one_line_without_an_address(tmp_path, text):
    file = tmp_path / "ways.yaml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    settings = Settings(data=tmp_path, secret_key="s" * 32, notice_ways=file, _env_file=None)

    with pytest.raises(SettingsError) as error:
        named_ways(settings)

    assert GEHEIM not in str(error.value) and "\n" not in str(error.value)
    assert "SANSHEN_NOTICE_WAYS" in str(error.value)


def test_robots_are_named_by_the_address_their_platform_shows(settings):
    given = settings.model_copy(
        update={
            "notice_ways": None,
            "notify_urls": Settings(
                secret_key="s" * 32, _env_file=None,
                notify_urls=json.dumps([
                    f"https://oapi.dingtalk.com/robot/send?access_token={GEHEIM}",
                    f"https://open.feishu.cn/open-apis/bot/v2/hook/{GEHEIM}",
                    f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={GEHEIM}",
                    "https://chat.example/a?key=1",
                ]),
            ).notify_urls,
        }
    )  # fmt: skip

    assert [one.url.get_secret_value() for one in named_ways(given).values()] == [
        f"dingtalk://{GEHEIM}", f"feishu://{GEHEIM}", f"wecombot://{GEHEIM}",
        "jsons://chat.example/a?key=1",
    ]  # fmt: skip
