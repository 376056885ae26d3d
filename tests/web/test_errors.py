"""What a client sees: refusals as problem details, and never a 500 for what it can send."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from review.records.people import Person
from review.rules.errors import LedgerUnavailableError, NotSignedInError, RefusedError, RuleError
from review.settings import Settings
from starter.web.app import create_app

AUTHOR = Person(id="p1", username="wang", name="王", unit_id="u1")
DRAFT = {
    "title": "春季造林工作启动",
    "body": "正文。",
    "category": "work_news",
    "kind": "disclosure",
    "source": {"type": "own"},
    "channels": ["site"],
    "secrecy_pledge": True,
    "proofread": True,
}
DECISION = {"step": "unit_review", "verdict": "approve", "digest": "d1"}


class FakeReviews:
    """Keeps what it was asked; raises what it was told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.refusal: Exception | None = None
        self.parts: dict[str, str | None] = {"ledger": None, "engine": None}

    async def measures(self) -> Any:
        raise LedgerUnavailableError

    async def readiness(self) -> dict[str, str | None]:
        return self.parts

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            self.calls.append((name, args, options))
            if self.refusal:
                raise self.refusal
            return {"id": "s1"}

        return call


class FakeAccess:
    """One person with one token, one session and one OA account."""

    def by_token(self, token: str) -> Person | None:
        return AUTHOR if token == "good" else None

    def by_session(self, secret: str) -> tuple[Person, str] | None:
        return (AUTHOR, "csrf") if secret == "cookie" else None

    def by_oa_account(self, account: str) -> Person | None:
        return AUTHOR if account == "oa.wang" else None

    def sign_in(
        self, username: str, password: str, otp: str = "", address: str = ""
    ) -> SimpleNamespace:
        if (username, password) != ("wang", "right"):
            raise NotSignedInError(why="password")
        return SimpleNamespace(secret="cookie", csrf="csrf", person=AUTHOR)

    def sign_out(self, secret: str) -> None:
        self.signed_out = secret


@pytest.fixture
def reviews() -> FakeReviews:
    return FakeReviews()


def settings_in(data: Path, public_url: str = "http://127.0.0.1:8080") -> Settings:
    return Settings(data=data, secret_key="s" * 32, public_url=public_url, _env_file=None)


@pytest.fixture
async def client(reviews: FakeReviews, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(reviews, FakeAccess(), settings_in(tmp_path))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Authorization": "Bearer good"},
    ) as found:
        yield found


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"] and problem["title"] and problem["detail"]
    return dict(problem)


async def test_refusal_is_told_in_the_callers_language(client, reviews):
    reviews.refusal = RefusedError("stale_round", round=2, step="unit_review")

    chinese = await client.post("/api/v1/submissions/s1/decisions", json=DECISION)
    english = await client.post(
        "/api/v1/submissions/s1/decisions",
        json=DECISION,
        headers={"Accept-Language": "fr, en-GB;q=0.8, zh;q=0.5"},
    )

    assert "第 2 轮" in assert_problem(chinese, 409, "stale_round")["detail"]
    problem = assert_problem(english, 409, "stale_round")
    assert "round 2" in problem["detail"]
    assert problem["step"] == "unit_review"


KINDS = [kind for kind in RuleError.__subclasses__() if kind.__module__ == RuleError.__module__]


@pytest.mark.parametrize("error", KINDS)
async def test_every_kind_of_refusal_has_its_status(client, reviews, error):
    reviews.refusal = error(errors=[{"field": "step", "message": "unknown_step"}])

    answer = await client.get("/api/v1/inbox")

    assert_problem(answer, error.status, error.default_code)
    assert (answer.status_code == 503) == (answer.headers.get("retry-after") == "2")


async def test_unexpected_exception_is_a_500_without_content(client, reviews):
    reviews.refusal = ValueError("王某的身份证号")

    answer = await client.get("/api/v1/inbox")

    assert "王某" not in answer.text
    assert_problem(answer, 500, "internal_error")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_unknown_routes_and_methods_are_problems(client):
    assert_problem(await client.get("/nowhere"), 404, "not_found")
    wrong_method = await client.put("/api/v1/inbox")
    assert_problem(wrong_method, 405, "method_not_allowed")
    assert "GET" in wrong_method.headers["allow"]


async def test_malformed_draft_lists_every_field(client, reviews):
    wrong = {name: value for name, value in DRAFT.items() if name != "kind"}
    wrong |= {"title": "短", "surprise": 1, "secrecy_pledge": False}

    answer = await client.post("/api/v1/submissions", json=wrong)

    problem = assert_problem(answer, 422, "malformed")
    fields = {error["field"] for error in problem["errors"]}
    assert fields == {"kind", "title", "surprise", "secrecy_pledge"}
    assert reviews.calls == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"title": "\\ud800 aaaaaa"}',
        b'{"\\ud800": 1}',
        b"[" * 100_000,
        b'{"step":"s","verdict":"approve","digest":"d","round":' + b"9" * 5_000 + b"}",
        b'{"step":"s","verdict":"approve","digest":"d","opinion":"a\\u0000b"}',
        b'{"step":"s","verdict":"approve","digest":"d","checklist":{"a\\u0000":true}}',
        b'{"step":"s","verdict":"approve","digest":"d","decided_at":"0001-01-01T00:00:00+08:00"}',
        b'{"step":"s","verdict":"approve","digest":"d","round":NaN}',
    ],
)
async def test_bytes_that_are_no_decision_are_422(client, raw):
    answer = await client.post(
        "/api/v1/submissions/s1/decisions",
        content=raw,
        headers={"Content-Type": "application/json"},
    )

    assert_problem(answer, 422, "malformed")


async def test_other_content_types_are_415(client):
    body = json.dumps(DECISION)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await client.post(
            "/api/v1/submissions/s1/decisions",
            content=body,
            headers={"Content-Type": content_type},
        )

        assert_problem(answer, 415, "unsupported_media")


async def test_more_than_two_megabytes_are_413(client):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    declared = await client.post("/api/v1/check", json={"title": "t", "body": "x" * 2_200_000})
    streamed = await client.post(
        "/api/v1/check", content=endless(), headers={"Content-Type": "application/json"}
    )

    assert_problem(declared, 413, "too_large")
    assert_problem(streamed, 413, "too_large")


async def test_nobody_gets_in_without_proof(client, reviews):
    for authorization in ("", "Bearer", "Bearer bad", "Bearer \u00e9", "Basic d2FuZzpyaWdodA=="):
        answer = await client.get(
            "/api/v1/submissions/s1", headers={"Authorization": authorization.encode("latin-1")}
        )

        assert_problem(answer, 401, "not_signed_in")
    assert reviews.calls == []


async def test_who_calls_is_asked_before_the_body_is_read(client):
    answer = await client.post(
        "/api/v1/submissions", content=b"{", headers={"Authorization": "Bearer bad"}
    )

    assert_problem(answer, 401, "not_signed_in")


async def test_session_needs_its_csrf_token_on_unsafe_methods(client, reviews):
    del client.headers["authorization"]
    cookie = {"Cookie": "sanshen_session=cookie"}
    decisions = "/api/v1/submissions/s1/decisions"

    read = await client.get("/api/v1/inbox", headers=cookie)
    without = await client.post(decisions, json=DECISION, headers=cookie)
    wrong = await client.post(decisions, json=DECISION, headers=cookie | {"X-CSRF-Token": "x"})
    right = await client.post(decisions, json=DECISION, headers=cookie | {"X-CSRF-Token": "csrf"})

    assert read.status_code == 200
    assert_problem(without, 403, "not_allowed")
    assert_problem(wrong, 403, "not_allowed")
    assert right.status_code == 200
    assert reviews.calls[-1][2]["way_in"] == "page"


async def test_signing_in_and_out(client):
    del client.headers["authorization"]
    right = {"username": "wang", "password": "right"}

    refused = await client.post("/api/v1/session", json=right | {"password": "wrong"})
    signed_in = await client.post("/api/v1/session", json=right)
    cookie = signed_in.headers["set-cookie"]
    signed_out = await client.delete(
        "/api/v1/session",
        headers={"Cookie": "sanshen_session=cookie", "X-CSRF-Token": "csrf"},
    )

    assert_problem(refused, 401, "not_signed_in")
    assert signed_in.json()["csrf_token"] == "csrf"
    assert signed_in.json()["person"]["id"] == "p1"
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    assert signed_out.status_code == 204


async def test_cookie_is_secure_where_the_address_is_https(reviews, tmp_path):
    app = create_app(reviews, FakeAccess(), settings_in(tmp_path, "https://sanshen.example"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
        answer = await client.post(
            "/api/v1/session", json={"username": "wang", "password": "right"}
        )

    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


async def test_key_is_passed_on_and_must_be_printable(client, reviews):
    decisions = "/api/v1/submissions/s1/decisions"

    taken = await client.post(decisions, json=DECISION, headers={"Idempotency-Key": "k 1"})
    odd = [b"", b"\xe9", b"k" * 201]
    refused = [
        await client.post(decisions, json=DECISION, headers={"Idempotency-Key": key}) for key in odd
    ]
    twice = await client.post(
        decisions,
        json=DECISION,
        headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
    )

    assert taken.status_code == 200
    assert reviews.calls[0][2] == {"decision_id": "k 1", "way_in": "api"}
    for answer in (*refused, twice):
        assert_problem(answer, 422, "malformed")


async def test_what_can_be_no_id_is_not_found(client, reviews):
    for odd in ("a%00b", "x" * 65, "%F0%9F%98%80", "a.b"):
        for side in ("", "/timeline", "/versions", "/form.html"):
            answer = await client.get(f"/api/v1/submissions/{odd}{side}")

            assert_problem(answer, 404, "not_found")
    assert reviews.calls == []


@pytest.mark.parametrize(
    "query",
    [
        "status=gone",
        "limit=0",
        "limit=201",
        "limit=x",
        "from=tomorrow",
        "from=2026-13-01",
        "to=9999-12-31",
        "from=2026-11-22T10:00:00",
        "from=0001-01-01",
        "q=a%00b",
        "after=%00",
        "unit=%27%20or%201",
        "overdue=perhaps",
    ],
)
async def test_odd_filters_are_422(client, query):
    assert_problem(await client.get(f"/api/v1/submissions?{query}"), 422, "malformed")


async def test_days_of_a_filter_are_the_bureaus_and_whole(client, reviews):
    await client.get("/api/v1/submissions?from=2026-11-22&to=2026-11-22&overdue=true&limit=7")

    _, (person, filters, limit, after), _ = reviews.calls[0]
    assert person == AUTHOR
    assert filters["from"].isoformat() == "2026-11-22T00:00:00+08:00"
    assert filters["to"].isoformat() == "2026-11-23T00:00:00+08:00"
    assert (filters["overdue"], limit, after) == (True, 7, None)


async def test_readiness_names_the_missing_part(client, reviews):
    ready = await client.get("/readyz")
    reviews.parts["engine"] = "no answer"
    missing = await client.get("/readyz")

    assert ready.status_code == 200
    assert assert_problem(missing, 503, "not_ready")["missing"] == ["engine"]
    assert "engine" in missing.json()["detail"]


async def test_every_answer_carries_the_security_headers(client):
    for path in ("/", "/api/docs", "/api/v1/inbox", "/nowhere", "/healthz", "/public/"):
        answer = await client.get(path)

        policy = answer.headers["content-security-policy"]
        assert "unsafe-inline" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
    assert (await client.get("/api/v1/inbox")).headers["cache-control"] == "no-store"


async def test_correlation_id_is_kept_when_decent(client):
    kept = await client.get("/healthz", headers={"X-Request-ID": "oa-17"})
    replaced = await client.get("/healthz", headers={"X-Request-ID": "a b<script>"})

    assert kept.headers["x-request-id"] == "oa-17"
    assert "script" not in replaced.headers["x-request-id"]


async def test_pages_and_documents_load_nothing_from_elsewhere(client):
    for path in ("/", "/api/docs", "/public/"):
        page = await client.get(path)

        assert page.status_code == 200
        assert "://" not in page.text and "<script" not in page.text and "style=" not in page.text
    document = (await client.get("/api/openapi.json")).json()
    assert "/api/v1/submissions/{submission_id}/decisions" in document["paths"]
    assert {"Draft", "DecisionRequest", "Problem"} <= document["components"]["schemas"].keys()


async def test_metrics_count_by_route_never_by_id(client):
    await client.get("/api/v1/submissions/secret-id")

    shown = (await client.get("/metrics")).text

    assert 'route="/api/v1/submissions/{submission_id}"' in shown
    assert "secret-id" not in shown


async def test_public_serves_the_site_and_nothing_beside_it(client, tmp_path):
    site = tmp_path / "site"
    (site / "items").mkdir(parents=True)
    (site / "items" / "a.html").write_text("<p>公开", encoding="utf-8")
    (site / ".a.html.new").write_text("half", encoding="utf-8")
    (tmp_path / "ledger.db").write_text("secret", encoding="utf-8")
    (site / "out").symlink_to(tmp_path / "ledger.db")

    page = await client.get("/public/items/a.html")
    again = await client.get(
        "/public/items/a.html", headers={"If-None-Match": page.headers["etag"]}
    )
    feed = await client.get("/public/feed.atom")

    assert page.text == "<p>公开"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert again.status_code == 304
    assert feed.headers["content-type"].startswith("application/atom+xml")
    for path in ("out", ".a.html.new", "..%2fledger.db", "%2e%2e/ledger.db", "a%00", "items"):
        assert_problem(await client.get(f"/public/{path}"), 404, "not_found")
