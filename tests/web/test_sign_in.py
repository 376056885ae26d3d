"""Signing in over HTTP: the contract's JSON, second factors, lock-outs, headers of every answer."""

import httpx
import pyotp
import pytest
from fastapi import FastAPI
from sqlmodel import select

from review.records import access
from review.records.tables import Audit, Grant, PersonRow
from starter.web.edge import CONTENT_SECURITY_POLICY
from tests.acting import Course
from tests.examples import CHECKLIST, MONDAY
from tests.records.test_access import PASSWORD, Clock
from tests.web.conftest import browser

SESSION = "/api/v1/session"


async def signed_in(client: httpx.AsyncClient, username: str = "chief", **more: str) -> str:
    """Sign in, and return the token that unsafe methods need."""
    answer = await client.post(SESSION, json={"username": username, "password": PASSWORD} | more)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["csrf_token"]
    return token


async def enrolled(
    client: httpx.AsyncClient, clock: Clock, csrf: str
) -> tuple[pyotp.TOTP, list[str]]:
    headers = {"X-CSRF-Token": csrf}
    begun = await client.post("/api/v1/me/second-factor", headers=headers)
    assert begun.status_code == 201, begun.text
    codes = pyotp.TOTP(begun.json()["secret"])
    confirmed = await client.post(
        "/api/v1/me/second-factor/confirm", json={"code": codes.at(clock.now)}, headers=headers
    )
    assert confirmed.status_code == 200, confirmed.text
    clock.pass_(seconds=60)
    return codes, confirmed.json()["recovery_codes"]


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_session_is_what_the_contract_says(client):
    answer = await client.post(SESSION, json={"username": "chief", "password": PASSWORD})

    assert set(answer.json()) == {"csrf_token", "person"}
    assert answer.json()["person"] == {
        "id": "chief", "username": "chief", "name": "chief", "unit": "center",
        "roles": [{"role": "center_chief", "unit": None}],
    }  # fmt: skip
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("sanshen_session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Max-Age" not in cookie and "expires" not in cookie


async def test_cookie_is_secure_where_the_address_is(make_app, passwords):
    async with browser(make_app(public_url="https://test")) as client:
        answer = await client.post(SESSION, json={"username": "chief", "password": PASSWORD})

    assert "Secure" in answer.headers["set-cookie"].split("; ")


async def test_unknown_wrong_and_disabled_look_the_same(client, quick_ledger):
    quick_ledger.write(access.disable, "leader_prot", MONDAY)

    answers = [
        await client.post(SESSION, json={"username": name, "password": password})
        for name, password in (
            ("chief", "wrong"), ("nobody", PASSWORD), ("leader_prot", PASSWORD), ("duty", PASSWORD)
        )
    ]  # fmt: skip

    assert len({answer.text for answer in answers}) == 1
    assert problem(answers[0]) == (401, "not_signed_in")
    names = [{n for n in answer.headers if n != "x-request-id"} for answer in answers]
    assert all(one == names[0] for one in names)


async def test_account_closes_for_every_process_and_says_when_it_opens(make_app, passwords):
    async with browser(make_app()) as one, browser(make_app(), "192.0.2.10") as other:
        for n in range(10):
            client = one if n % 2 else other
            wrong = await client.post(SESSION, json={"username": "chief", "password": "x"})
            assert wrong.status_code == 401
        for username in ("chief",):
            answer = await one.post(SESSION, json={"username": username, "password": PASSWORD})
            assert problem(answer) == (429, "too_many")
            assert 890 <= int(answer.headers["retry-after"]) <= 901
        assert await signed_in(other, "bureau_chief")


async def test_address_is_the_proxys_word_only_where_the_proxy_is_ours(
    make_app, passwords, monkeypatch
):
    from review.records import lockouts

    monkeypatch.setattr(lockouts, "MOST_OF_ADDRESS", 3)

    async def failures(app: FastAPI, forwarded: list[str]) -> list[int]:
        async with browser(app, "10.0.0.1") as client:
            return [
                (
                    await client.post(
                        SESSION,
                        json={"username": f"n{n}{one}", "password": "x"},
                        headers={"X-Forwarded-For": one},
                    )
                ).status_code
                for n, one in enumerate(forwarded)
            ]

    ours = make_app(proxies="10.0.0.1")
    made_up = [f"203.0.113.{n}" for n in range(5)]
    assert await failures(ours, made_up) == [401] * 5
    assert await failures(ours, ["1.1.1.1, 198.51.100.7"] * 4) == [401, 401, 401, 429]
    assert await failures(make_app(), made_up) == [401, 401, 401, 429, 429]


async def test_disabling_ends_everything_at_once(client, make_app, quick_ledger):
    csrf = await signed_in(client, "fire_head")
    token = quick_ledger.write(access.issue_token, "fire_head", "", MONDAY)
    async with browser(make_app()) as security:
        headers = {"X-CSRF-Token": await signed_in(security, "security")}
        answer = await security.post("/api/v1/people/fire_head/disable", headers=headers)
        assert answer.status_code == 200, answer.text

        for sent in ({}, {"Authorization": f"Bearer {token}"}, {"X-CSRF-Token": csrf}):
            assert problem(await client.get("/api/v1/inbox", headers=sent))[0] == 401
        assert (await security.post("/api/v1/people/fire_head/enable", headers=headers)).is_success
    assert problem(await client.get("/api/v1/inbox"))[0] == 401
    assert await signed_in(client, "fire_head")
    with quick_ledger.reading() as session:
        lines = session.exec(select(Audit).where(Audit.person_id == "security")).all()
    assert [(one.event, one.way_in) for one in lines if "account" in one.event] == [
        ("account_disabled", "page"), ("account_enabled", "page")
    ]  # fmt: skip


async def test_roles_are_given_and_taken_by_another_security_administrator(client, quick_ledger):
    headers = {"X-CSRF-Token": await signed_in(client, "security")}

    async def give(person: str, role: str, unit: str = "") -> httpx.Response:
        return await client.post(
            f"/api/v1/people/{person}/grants", json={"role": role, "unit": unit}, headers=headers
        )

    given = await give("forest_info", "unit_head", "forest")
    assert given.status_code == 201
    assert problem(await give("security", "auditor")) == (409, "own_account")
    assert problem(await give("admin", "center_editor")) == (409, "roles_apart")
    assert problem(await give("chief", "auditor")) == (409, "roles_apart")
    assert problem(await give("nobody", "publisher")) == (404, "not_found")
    assert problem(await give("chief", "king")) == (422, "malformed")
    taken = await client.delete(f"/api/v1/grants/{given.json()['grant']}", headers=headers)
    assert taken.status_code == 200
    with quick_ledger.reading() as session:
        assert session.get_one(Grant, given.json()["grant"]).revoked_at is not None


async def test_nobody_else_administers(client, quick_ledger):
    for person in ("chief", "admin", "auditor_a", "bureau_chief"):
        token = quick_ledger.write(access.issue_token, person, "", MONDAY)
        sent = {"Authorization": f"Bearer {token}"}
        for method, path in (
            ("POST", "/api/v1/people/duty/disable"), ("POST", "/api/v1/people/duty/enable"),
            ("DELETE", "/api/v1/grants/duty-duty_officer-"),
        ):  # fmt: skip
            assert problem(await client.request(method, path, headers=sent))[0] == 403
    with quick_ledger.reading() as session:
        assert session.get_one(PersonRow, "duty").disabled_at is None
        assert session.get_one(Grant, "duty-duty_officer-").revoked_at is None


# --- second factor --------------------------------------------------------------------------------


async def test_leader_without_one_can_do_nothing_but_set_one_up(client, clock):
    answer = await client.post(SESSION, json={"username": "bureau_chief", "password": PASSWORD})
    assert answer.json()["second_factor"] == "enrol"
    for path in ("/api/v1/inbox", "/api/v1/submissions", "/api/v1/board"):
        assert problem(await client.get(path)) == (403, "second_factor_needed")
    page = await client.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/second-factor")

    codes, recovery = await enrolled(client, clock, answer.json()["csrf_token"])

    assert len(recovery) == 10
    assert (await client.get("/api/v1/inbox")).status_code == 200
    again = await client.post(SESSION, json={"username": "bureau_chief", "password": PASSWORD})
    assert problem(again) == (401, "second_factor_needed")
    assert "set-cookie" not in again.headers
    assert await signed_in(client, "bureau_chief", otp=codes.at(clock.now))
    assert (await client.get("/api/v1/me")).json()["second_factor"] == "in_use"


async def test_token_of_a_leader_needs_none(client, quick_ledger):
    token = quick_ledger.write(access.issue_token, "bureau_chief", "", MONDAY)

    answer = await client.get("/api/v1/inbox", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 200


async def test_token_sets_up_nothing(client, quick_ledger):
    token = quick_ledger.write(access.issue_token, "chief", "", MONDAY)

    answer = await client.post(
        "/api/v1/me/second-factor", headers={"Authorization": f"Bearer {token}"}
    )

    assert (*problem(answer), answer.json()["why"]) == (403, "not_allowed", "session_only")


@pytest.mark.parametrize(
    ("category", "level", "status"), [("emergency", "major", 403), ("work_news", "", 200)]
)
async def test_gravest_routes_are_decided_only_with_one(
    client, quick_ledger, clock, category, level, status
):
    more = {"level": level, "event_time": MONDAY, "authority_reference": "口径"} if level else {}
    course = Course(quick_ledger, author="fire_info", category=category, **more)
    course.turn()
    csrf = await signed_in(client, "fire_head")
    path = f"/api/v1/submissions/{course.id}"
    item = (await client.get(path)).json()
    decision = {
        "step": "unit_review", "verdict": "approve", "digest": item["digest"],
        "checklist": CHECKLIST, "findings_seen": [f["id"] for f in item["findings"]],
    }  # fmt: skip

    async def decide() -> httpx.Response:
        return await client.post(f"{path}/decisions", json=decision, headers={"X-CSRF-Token": csrf})

    answer = await decide()

    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["code"] == "second_factor_needed"
        await enrolled(client, clock, csrf)
        assert (await decide()).status_code == 200


async def test_security_administrator_removes_one(client, make_app, clock):
    await enrolled(client, clock, await signed_in(client))
    async with browser(make_app()) as security:
        headers = {"X-CSRF-Token": await signed_in(security, "security")}
        answer = await security.delete("/api/v1/people/chief/second-factor", headers=headers)
        assert answer.status_code == 200
        own = await security.delete("/api/v1/people/security/second-factor", headers=headers)
        assert problem(own) == (409, "own_account")

    assert problem(await client.get("/api/v1/inbox"))[0] == 401
    assert await signed_in(client)


async def test_pages_ask_for_it_in_a_second_step(client, clock):
    codes, _ = await enrolled(client, clock, await signed_in(client))
    client.cookies.clear()
    form = {"username": "chief", "password": PASSWORD, "next": "/?a=b"}

    page = await client.post("/sign-in", data=form)

    assert page.status_code == 200 and "set-cookie" not in page.headers
    assert PASSWORD not in page.text
    ticket = page.text.split('name="ticket" value="')[1].split('"')[0]
    wrong = await client.post("/sign-in/second-factor", data={"ticket": ticket, "otp": "1"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    right = await client.post(
        "/sign-in/second-factor",
        data={"ticket": ticket, "otp": codes.at(clock.now), "next": "/?a=b"},
    )
    assert (right.status_code, right.headers["location"]) == (303, "/?a=b")
    assert (await client.get("/api/v1/inbox")).status_code == 200


async def test_page_sets_one_up(client, clock):
    csrf = await signed_in(client, "bureau_chief")
    assert (await client.get("/second-factor")).status_code == 200

    shown = await client.post("/second-factor", data={"csrf": csrf})
    secret = shown.text.split("<code>")[1].split("<")[0]
    done = await client.post(
        "/second-factor/confirm", data={"csrf": csrf, "code": pyotp.TOTP(secret).at(clock.now)}
    )

    assert done.text.count("<li><code>") == 10
    assert (await client.get("/api/v1/inbox")).status_code == 200


async def test_who_must_set_one_up_can_sign_out(client):
    csrf = await signed_in(client, "bureau_chief")

    answer = await client.post("/sign-out", data={"csrf": csrf})

    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


# --- the first administrator ----------------------------------------------------------------------


async def test_first_key_makes_an_administrator_over_http(client, quick_ledger):
    from review.records.first_key import make_another_key

    quick_ledger.write(lambda s: setattr(s.get_one(PersonRow, "security"), "password_hash", ""))
    key = quick_ledger.write(make_another_key, MONDAY)
    sent = {"key": key, "username": "wangfang", "name": "王芳", "password": "a long passphrase"}

    short = await client.post("/api/v1/first-administrator", json=sent | {"password": "short"})
    made = await client.post("/api/v1/first-administrator", json=sent)
    again = await client.post("/api/v1/first-administrator", json=sent)

    assert problem(short)[0] == 422
    assert made.status_code == 201
    assert problem(again) == (401, "not_signed_in")


# --- what every answer carries --------------------------------------------------------------------

ANSWERS = (
    ("GET", "/", 200), ("GET", "/sign-in", 200), ("GET", "/nowhere", 404),
    ("GET", "/healthz", 200), ("GET", "/readyz", 503), ("GET", "/metrics", 200),
    ("GET", "/api/openapi.json", 200), ("GET", "/public/", 200), ("GET", "/api/v1/inbox", 401),
    ("POST", "/api/v1/session", 415), ("POST", "/hooks/decisions", 401),
    ("PUT", "/api/v1/session", 405), ("GET", "/second-factor", 303), ("GET", "/sign-in/oidc", 404),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_every_answer_carries_the_headers(client, method, path, status):
    answer = await client.request(method, path, headers={"Accept": "text/html"})

    assert answer.status_code == status
    headers = answer.headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["x-request-id"]
    assert "strict-transport-security" not in headers
    assert "cache-control" in headers
    if not path.startswith("/public"):
        assert headers["cache-control"] == "no-store"


async def test_crash_carries_them_too(make_app, monkeypatch):
    app = make_app()
    monkeypatch.setattr(app.state.reviews, "readiness", None)
    async with browser(app) as client:
        answer = await client.get("/readyz")

    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


async def test_transport_is_strict_where_the_address_is_https(make_app):
    async with browser(make_app(public_url="https://test")) as client:
        answer = await client.get("/healthz")

    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


def test_policy_lets_nothing_in_from_elsewhere():
    rules = dict(rule.split(" ", 1) for rule in CONTENT_SECURITY_POLICY.split("; "))

    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert set(rules.values()) == {"'self'", "'none'"}


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/second-factor"])
async def test_other_sites_form_signs_nobody_in(client, path):
    form = {"username": "chief", "password": PASSWORD}

    for site in ("cross-site", "same-site"):
        answer = await client.post(path, data=form, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/me/second-factor"), ("POST", "/api/v1/me/second-factor/confirm"),
        ("POST", "/api/v1/people/duty/disable"), ("POST", "/api/v1/people/duty/enable"),
        ("POST", "/api/v1/people/duty/grants"), ("DELETE", "/api/v1/grants/duty-duty_officer-"),
        ("DELETE", "/api/v1/people/duty/second-factor"), ("DELETE", "/api/v1/session"),
        ("POST", "/second-factor"), ("POST", "/second-factor/confirm"),
    ],
)  # fmt: skip
async def test_session_without_its_token_changes_nothing(client, quick_ledger, method, path):
    await signed_in(client, "security")

    for headers in ({}, {"X-CSRF-Token": "x"}):
        answer = await client.request(method, path, headers=headers)
        assert problem(answer) == (403, "not_allowed")
    with quick_ledger.reading() as session:
        assert session.get_one(PersonRow, "duty").disabled_at is None
    assert (await client.get("/api/v1/me")).status_code == 200
