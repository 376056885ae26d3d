"""Sign-in at a real OpenID Connect provider, and with every lie one could tell."""

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from typing import Any

import httpx
import pyotp
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import FastAPI
from joserfc.jwk import OctKey, RSAKey
from sqlmodel import select

from review.records import access
from review.records.tables import PersonRow, SignIn
from review.settings import Settings, SettingsError, load
from tests.examples import MONDAY
from tests.records.test_access import PASSWORD
from tests.web.conftest import SECRET_KEY, browser
from tests.web.identity import Liar, query_of, real_provider

HIDDEN = re.compile(r'<input type="hidden" name="(code|state|iss)" value="([^"]*)"')


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with real_provider(
        {"sub": "u-1", "account": "chief", "name": "deputy_b"},
        {"sub": "u-2", "account": "nobody"},
        {"sub": "chief", "account": "deputy_b"},
    ) as found:
        yield found


@pytest.fixture
def app(make_app: Callable[..., FastAPI], issuer: str) -> FastAPI:
    return make_app(oidc_issuer=issuer, oidc_client_id="sanshen", oidc_client_secret="geheim")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as found:
        yield found


def form_of(page: httpx.Response) -> dict[str, str]:
    return dict(HIDDEN.findall(page.text))


async def came_back(client: httpx.AsyncClient, sub: str, path: str = "/sign-in/oidc") -> Any:
    """Go to the provider, sign in there as somebody, and return the page one comes back to."""
    leaving = await client.get(path)
    assert leaving.status_code == 303, leaving.text
    async with httpx.AsyncClient(trust_env=False) as web:
        there = await web.post(leaving.headers["location"], data={"sub": sub})
    assert there.status_code == 302, there.text
    return await client.get(there.headers["location"].removeprefix("http://test"))


async def is_signed_in(client: httpx.AsyncClient) -> str | None:
    answer = await client.get("/api/v1/me")
    return str(answer.json()["id"]) if answer.status_code == 200 else None


async def refused(client: httpx.AsyncClient, answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert not client.cookies.get("sanshen_session")
    assert await is_signed_in(client) is None


# --- a real provider ---------------------------------------------------------------------------


async def test_account_of_the_provider_signs_in(client, quick_ledger):
    page = await came_back(client, "chief", "/sign-in/oidc?next=/?tab=mine")
    assert await is_signed_in(client) is None  # a GET changes nothing

    answer = await client.post("/sign-in/oidc", data=form_of(page))

    assert (answer.status_code, answer.headers["location"]) == (303, "/?tab=mine")
    assert await is_signed_in(client) == "chief"
    with quick_ledger.reading() as session:
        assert session.exec(select(SignIn.way)).all() == ["oidc"]


async def test_browser_leaves_with_state_nonce_and_pkce(client, issuer):
    first, second = [await client.get("/sign-in/oidc") for _ in range(2)]

    asked, again = query_of(first.headers["location"]), query_of(second.headers["location"])
    assert first.headers["location"].startswith(issuer)
    assert asked["redirect_uri"] == "http://test/sign-in/oidc/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name]) >= 43 and asked[name] != again[name]
    cookie = first.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/sign-in/oidc"} <= set(cookie.split("; "))
    assert asked["nonce"] not in cookie and asked["state"] not in cookie


async def test_code_counts_once(client, app):
    page = await came_back(client, "chief")
    cookie = client.cookies.get("sanshen_oidc")
    assert (await client.post("/sign-in/oidc", data=form_of(page))).status_code == 303

    async with browser(app) as thief:
        thief.cookies.set("sanshen_oidc", cookie)
        await refused(thief, await thief.post("/sign-in/oidc", data=form_of(page)))


async def test_code_of_another_browser_signs_nobody_in(client, app):
    page = await came_back(client, "chief")

    async with browser(app) as victim:
        await refused(victim, await victim.post("/sign-in/oidc", data=form_of(page)))
        await victim.get("/sign-in/oidc")  # has a cookie of its own, and so another state
        await refused(victim, await victim.post("/sign-in/oidc", data=form_of(page)))
        state = query_of((await victim.get("/sign-in/oidc")).headers["location"])["state"]
        form = form_of(page) | {"state": state}  # its own state, but not its own code: PKCE
        await refused(victim, await victim.post("/sign-in/oidc", data=form))


@pytest.mark.parametrize("state", ["", "x", "é"])
async def test_wrong_state_signs_nobody_in(client, state):
    page = await came_back(client, "chief")

    await refused(client, await client.post("/sign-in/oidc", data=form_of(page) | {"state": state}))


async def test_claim_is_compared_with_accounts_never_with_names(make_app, issuer, quick_ledger):
    app = make_app(
        oidc_issuer=issuer, oidc_client_id="sanshen", oidc_account="username", oidc_claim="sub"
    )

    async with browser(app) as client:  # somebody whose name there is a user name here
        page = await came_back(client, "u-1")
        await refused(client, await client.post("/sign-in/oidc", data=form_of(page)))
    with quick_ledger.reading() as session:
        assert len(session.exec(select(PersonRow)).all()) > 0
        assert session.exec(select(PersonRow).where(PersonRow.username == "u-1")).all() == []


async def test_unknown_and_disabled_people_stay_outside(client, quick_ledger):
    with quick_ledger.reading() as session:
        before = len(session.exec(select(PersonRow)).all())
    quick_ledger.write(access.disable, "chief", MONDAY)

    for sub in ("chief", "nobody"):
        page = await came_back(client, sub)
        answer = await client.post("/sign-in/oidc", data=form_of(page))
        await refused(client, answer)
    with quick_ledger.reading() as session:
        assert len(session.exec(select(PersonRow)).all()) == before


async def test_second_factor_is_asked_after_the_provider(client, app, clock, quick_ledger):
    quick_ledger.write(lambda s: access.set_password(s, "chief", PASSWORD, MONDAY))
    door = app.state.access
    cookie = door.sign_in("chief", PASSWORD).secret
    codes = pyotp.TOTP(door.begin_second_factor("chief").secret)
    door.confirm_second_factor("chief", codes.at(clock.now), cookie)
    clock.pass_(seconds=60)

    page = await client.post("/sign-in/oidc", data=form_of(await came_back(client, "chief")))

    assert (page.status_code, await is_signed_in(client)) == (200, None)
    ticket = page.text.split('name="ticket" value="')[1].split('"')[0]
    sent = {"ticket": ticket, "otp": codes.at(clock.now)}
    assert (await client.post("/sign-in/second-factor", data=sent)).status_code == 303
    assert await is_signed_in(client) == "chief"


async def test_provider_that_says_no_leads_back_to_the_sign_in_page(client):
    answer = await client.get("/sign-in/oidc/callback?error=access_denied&state=x")

    assert answer.status_code == 401
    assert "/sign-in/oidc?next=" in answer.text


# --- one that tells lies -------------------------------------------------------------------------


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar().running() as found:
        yield found


@pytest.fixture
async def lied_to(
    make_app: Callable[..., FastAPI], liar: Liar
) -> AsyncIterator[Callable[..., Any]]:
    """A function that comes back from the provider with what it answers to our code."""
    app = make_app(oidc_issuer=liar.issuer, oidc_client_id="sanshen", oidc_client_secret="geheim")
    async with browser(app) as client:

        async def come_back(token: Callable[[], Any], **form: str) -> httpx.Response:
            asked = query_of((await client.get("/sign-in/oidc")).headers["location"])
            liar.nonce = asked["nonce"]
            told = token()
            liar.answer = told if isinstance(told, int | dict) else {"id_token": told}
            sent = {"code": "c", "state": asked["state"]} | form
            answer = await client.post("/sign-in/oidc", data=sent)
            if "code_verifier" in (liar.redeemed[-1] if liar.redeemed else {}):
                verifier = liar.redeemed[-1]["code_verifier"]
                assert create_s256_code_challenge(verifier) == asked["code_challenge"]
            return answer

        come_back.client = client  # type: ignore[attr-defined]
        yield come_back


async def test_truth_is_believed(lied_to, liar):
    answer = await lied_to(lambda: liar.token(iss=liar.issuer))

    assert answer.status_code == 303
    assert await is_signed_in(lied_to.client) == "chief"


LIES: dict[str, Callable[[Liar], Any]] = {
    "other nonce": lambda p: p.token(nonce="other"),
    "no nonce": lambda p: p.token(nonce=None),
    "other issuer": lambda p: p.token(iss="https://evil.example"),
    "no issuer": lambda p: p.token(iss=None),
    "other audience": lambda p: p.token(aud="other"),
    "no audience": lambda p: p.token(aud=None),
    "several audiences, meant for another": lambda p: p.token(
        aud=["sanshen", "other"], azp="other"
    ),
    "expired": lambda p: p.token(iat=int(time.time()) - 900, exp=int(time.time()) - 300),
    "no expiry": lambda p: p.token(exp=None),
    "from the future": lambda p: p.token(nbf=int(time.time()) + 3600),
    "expiry is text": lambda p: p.token(exp="tomorrow"),
    "no subject": lambda p: p.token(sub=None),
    "subject is no text": lambda p: p.token(sub=["chief"]),
    "unknown account": lambda p: p.token(sub="nobody"),
    "account with NUL": lambda p: p.token(sub="chief\0"),
    "other key": lambda p: p.token(key=RSAKey.generate_key(2048, {"kid": "one"})),
    "unknown key": lambda p: p.token(
        key=RSAKey.generate_key(2048, {"kid": "two"}), header={"alg": "RS256", "kid": "two"}
    ),
    "signed with our own secret": lambda p: p.token(
        key=OctKey.import_key("geheim"), header={"alg": "HS256"}
    ),
    "signed with the public key as a secret": lambda p: p.token(
        key=OctKey.import_key(sha256(p.key.as_pem(private=False)).hexdigest()),
        header={"alg": "HS256", "kid": "one"},
    ),
    "not signed": lambda p: p.token(key=OctKey.import_key("x"), header={"alg": "none"}),
    "changed afterwards": lambda p: p.token(sub="bureau_chief")[:-20] + p.token()[-20:],
    "access token of another": lambda p: {
        "id_token": p.token(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "access_token": "a"
    },
    "empty": lambda p: "",
    "dots": lambda p: "..",
    "no token": lambda p: {},
    "endless": lambda p: "a" * 200_000,
    "code refused": lambda p: 400,
    "broken": lambda p: 500,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*:joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("lie", LIES)
async def test_lie_is_not_believed(lied_to, liar, lie):
    await refused(lied_to.client, await lied_to(lambda: LIES[lie](liar)))


async def test_providers_word_counts_once(lied_to, liar, make_app):
    """Also when the provider takes a code twice: our own ledger knows the request's nonce."""
    asked = query_of((await lied_to.client.get("/sign-in/oidc")).headers["location"])
    cookie, liar.nonce = lied_to.client.cookies.get("sanshen_oidc"), asked["nonce"]
    liar.answer = {"id_token": liar.token()}
    sent = {"code": "c", "state": asked["state"]}
    assert (await lied_to.client.post("/sign-in/oidc", data=sent)).status_code == 303

    lied_to.client.cookies.clear()
    lied_to.client.cookies.set("sanshen_oidc", cookie)

    await refused(lied_to.client, await lied_to.client.post("/sign-in/oidc", data=sent))


async def test_answer_of_another_issuer_is_not_redeemed(lied_to, liar):
    await refused(lied_to.client, await lied_to(lambda: liar.token(), iss="https://evil.example"))

    assert liar.redeemed == []


async def test_new_key_of_the_provider_is_found(lied_to, liar):
    from starter.web import oidc

    assert (await lied_to(lambda: liar.token())).status_code == 303
    lied_to.client.cookies.delete("sanshen_session")
    liar.published = [RSAKey.generate_key(2048, {"kid": "two"})]
    header = {"alg": "RS256", "kid": "two"}

    def token() -> str:
        return liar.token(key=liar.published[0], header=header)

    await refused(lied_to.client, await lied_to(token))  # looked for a moment ago
    provider = lied_to.client._transport.app.state.oidc
    provider._asked["keys"] -= oidc.ASK_AGAIN + 1
    assert (await lied_to(token)).status_code == 303


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", "https://evil.example"), ("token_endpoint", "http://evil.example/token"),
        ("jwks_uri", "http://evil.example/keys"), ("authorization_endpoint", "javascript:x"),
        ("token_endpoint", None),
    ],
)  # fmt: skip
async def test_provider_that_is_not_itself_is_not_gone_to(make_app, liar, name, value):
    liar.metadata[name] = value
    app = make_app(oidc_issuer=liar.issuer, oidc_client_id="sanshen")

    async with browser(app) as client:
        answer = await client.get("/sign-in/oidc")

    assert (answer.status_code, "location" in answer.headers) == (401, False)


async def test_provider_that_is_away_is_said(make_app):
    app = make_app(oidc_issuer="http://127.0.0.1:9", oidc_client_id="sanshen")

    async with browser(app) as client:
        answer = await client.get("/sign-in/oidc")

    assert answer.status_code == 401 and 'name="password"' in answer.text


async def test_without_a_provider_there_is_no_such_page(make_app):
    async with browser(make_app()) as client:
        assert "/sign-in/oidc" not in (await client.get("/sign-in")).text
        for method, path in (
            ("GET", "/sign-in/oidc"), ("GET", "/sign-in/oidc/callback?code=c&state=s"),
            ("POST", "/sign-in/oidc"),
        ):  # fmt: skip
            assert (await client.request(method, path)).status_code == 404


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example"])
async def test_nobody_is_led_elsewhere_afterwards(client, next_):
    page = await came_back(client, "chief", f"/sign-in/oidc?next={next_}")

    answer = await client.post("/sign-in/oidc", data=form_of(page))

    assert answer.headers["location"] == "/"


async def test_other_sites_form_signs_nobody_in(client):
    page = await came_back(client, "chief")

    answer = await client.post(
        "/sign-in/oidc", data=form_of(page), headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status_code == 403
    assert await is_signed_in(client) is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"oidc_issuer": "http://id.example", "oidc_client_id": "x"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "ftp://id.example", "oidc_client_id": "x"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "https://id.example"}, "OIDC_CLIENT_ID"),
        ({"oidc_claim": "name"}, "OIDC_CLAIM"),
        ({"oidc_claim": "email"}, "OIDC_CLAIM"),
        ({"oidc_account": "name"}, "OIDC_ACCOUNT"),
    ],
)
def test_wrong_setting_stops_the_start(tmp_path, settings, named):
    with pytest.raises(SettingsError, match=named):
        load(data=tmp_path, secret_key=SECRET_KEY, _env_file=None, **settings)


def test_secret_is_never_shown(tmp_path):
    settings = Settings(
        data=tmp_path, secret_key=SECRET_KEY, oidc_client_secret="geheim", _env_file=None
    )

    assert "geheim" not in repr(settings)
