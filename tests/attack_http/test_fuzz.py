"""Junk at every door: only refusals, never a 5xx, and nothing in the ledger but the refusals."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.attack_http.place import HOOK_KEY, URL, Place
from tests.attack_http.rights import DECISION, DRAFT

SAMPLE, WHOLE = 40, 1_500
REFUSED = (400, 401, 403, 404, 405, 409, 413, 415, 422, 429)

latin = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=300
)
anything = st.text(max_size=200)
numbers = st.one_of(
    st.integers(-(10**30), 10**30), st.floats(allow_nan=False), st.sampled_from([2**63, -(2**63)])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, anything),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(anything, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from([*DECISION, "round", "unit", "opinion", "checklist", "decided_at",
                          "findings_seen", "return_to", "submission", "account"])  # fmt: skip


def deep(depth: int) -> bytes:
    return b'{"step":' + b"[" * depth + b"]" * depth + b"}"


def twice(sent: dict[str, Any]) -> bytes:
    """Write every key twice, the second time as a stranger to the model."""
    pairs = [f"{json.dumps(k)}:{json.dumps(v)}" for k, v in sent.items()]
    return ("{" + ",".join(pairs + [f"{json.dumps(k)}:null" for k in sent]) + "}").encode()


@st.composite
def bodies(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    """Draw the bytes of a body: junk, or a good one with something wrong in it."""
    kind = draw(st.sampled_from(["bytes", "text", "value", "field", "deep", "twice", "more"]))
    if kind == "bytes":
        return draw(st.binary(max_size=300))
    if kind == "text":
        return draw(anything).encode("utf-8", "surrogatepass")
    if kind == "value":
        return json.dumps(draw(values)).encode()
    if kind == "deep":
        return deep(draw(st.integers(1, 100_000)))
    if kind == "twice":
        return twice(good)
    name = draw(fields if kind == "field" else anything)
    return json.dumps(good | {name: draw(values)}).encode()


class Harm:
    """What was asked, and what should not have been answered."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.answers: Counter[int] = Counter()
        self.before = place.state()
        place.web.cookies.clear()

    def ask(self, method: str, path: str, allowed: tuple[int, ...] = REFUSED, **more: Any) -> None:
        request = self.place.web.build_request(method, URL + path, **more)
        answer = self.place.run(self.place.web.send(request))
        self.answers[answer.status_code] += 1
        assert answer.status_code in allowed, (answer.status_code, answer.text[:300])

    def done(self, capsys: Any, what: str) -> None:
        counts = ", ".join(f"{status} × {n}" for status, n in sorted(self.answers.items()))
        with capsys.disabled():
            print(f"\n{what}: {self.answers.total()} cases, {counts}")
        assert self.place.state() == self.before


def fuzz(cases: int, number: int, **drawn: Any) -> Callable[[Callable[..., None]], None]:
    """Run a function over drawn values at once, the same ones every time."""

    def run(attack: Callable[..., None]) -> None:
        seed(number)(
            settings(
                max_examples=cases, database=None, deadline=None,
                phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
            )(given(**drawn)(attack))
        )()  # fmt: skip

    return run


cases = pytest.mark.parametrize(
    "cases", [SAMPLE, pytest.param(WHOLE, marks=pytest.mark.long)], ids=["sample", "whole"]
)


def header(value: str) -> bytes:
    return value.encode("latin-1", "replace").replace(b"\n", b" ").replace(b"\r", b" ")


def signed(place: Place, body: bytes, message: str = "m1") -> dict[str, bytes]:
    stamp = str(int(place.now.timestamp()))
    return {
        "webhook-id": message.encode(), "webhook-timestamp": stamp.encode(),
        "webhook-signature": HOOK_KEY.sign(message, stamp, body),
        "content-type": b"application/json",
    }  # fmt: skip


@cases
def test_forged_deliveries(place, capsys, cases):
    harm = Harm(place)
    good = DECISION | {"submission": place.items["afforest"].id, "account": "deputy_b"}
    names = st.sampled_from(
        ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-length"]
    )

    @fuzz(cases, 1, body=bodies(good), name=names, value=latin, drop=st.booleans())
    def _(body: bytes, name: str, value: str, drop: bool) -> None:
        headers = signed(place, json.dumps(good).encode())
        if drop:
            headers.pop(name, None)
        elif name != "content-length":
            headers[name] = header(value)
        harm.ask("POST", "/hooks/decisions", content=body, headers=headers)

    harm.done(capsys, "forged deliveries")


@cases
def test_junk_that_is_signed_well(place, capsys, cases):
    """The key's owner may send anything; the step, the version and the shape still judge."""
    harm = Harm(place)
    good = DECISION | {"submission": place.items["afforest"].id, "account": "deputy_b"}

    @fuzz(cases, 2, body=bodies(good))
    def _(body: bytes) -> None:
        message = hashlib.sha256(body).hexdigest()  # an id of its own, or it is a repeat
        harm.ask("POST", "/hooks/decisions", content=body, headers=signed(place, body, message))

    harm.done(capsys, "signed junk")


@cases
def test_cookies_tokens_and_csrf_tokens(place, capsys, cases):
    harm = Harm(place)
    secret, csrf = place.sessions["deputy_b"]
    decisions = f"/api/v1/submissions/{place.items['afforest'].id}/decisions"
    page = f"/items/{place.items['afforest'].id}"
    shapes = ("sanshen_session={}", "{}", "sanshen_session={}; sanshen_session=x", "a=b; {}")

    @fuzz(cases, 3, junk=latin, shape=st.sampled_from(shapes), cut=st.integers(0, len(secret) - 1))
    def _(junk: str, shape: str, cut: int) -> None:
        cookie = {"Cookie": header(shape.replace("{}", junk))}
        bearer = {"Authorization": b"Bearer " + header(junk)}
        mine = {"Cookie": f"sanshen_session={secret}".encode()}
        cropped = {"Cookie": f"sanshen_session={secret[:cut]}".encode()}
        wrong = header(junk) if junk != csrf else b""
        harm.ask("GET", "/api/v1/inbox", headers=cookie)
        harm.ask("GET", page, (303, 404), headers=cookie | {"Accept": b"text/html"})
        harm.ask("GET", "/api/v1/inbox", headers=cropped)
        harm.ask("GET", "/api/v1/inbox", headers=bearer)
        harm.ask("GET", "/api/v1/inbox", headers={"Authorization": header(junk)})
        harm.ask("POST", decisions, json=DECISION, headers=mine | {"X-CSRF-Token": wrong})
        harm.ask(
            "POST", f"{page}/decisions", data={"csrf": junk} | DECISION,
            headers=mine | {"Accept": b"text/html"},
        )  # fmt: skip

    harm.done(capsys, "cookies, tokens, CSRF tokens")


@cases
def test_bodies_keys_and_languages_of_somebody_known(place, capsys, cases):
    """A body is refused whatever is wrong with it, or rightly for its digest, which is stale."""
    harm = Harm(place)
    item = f"/api/v1/submissions/{place.items['afforest'].id}"
    person = place.bearer("deputy_b") | {"content-type": "application/json"}
    author = place.bearer("afforest_info") | {"content-type": "application/json"}
    broken = DRAFT | {"channels": ["no-such-channel"]}

    @fuzz(
        cases, 4, body=bodies(DECISION), draft=bodies(broken), key=latin, language=latin,
        kind=latin,
    )  # fmt: skip
    def _(body: bytes, draft: bytes, key: str, language: str, kind: str) -> None:
        beside = {"Idempotency-Key": header(key), "Accept-Language": header(language)}
        harm.ask("POST", f"{item}/decisions", content=body, headers=person)
        harm.ask("POST", f"{item}/versions", content=body, headers=person)
        harm.ask("POST", f"{item}/acts", content=body, headers=person)
        harm.ask("POST", "/api/v1/submissions", content=draft, headers=author)
        harm.ask("POST", f"{item}/decisions", json=DECISION, headers=person | beside)
        harm.ask("POST", f"{item}/decisions", content=body,
                 headers=person | {"content-type": header(kind)})  # fmt: skip
        harm.ask("GET", item, (200,), headers=person | {"Accept-Language": header(language)})

    harm.done(capsys, "bodies, keys, languages")


@cases
def test_addresses_and_queries(place, capsys, cases):
    """Whatever stands in a path or a query is a refusal, or the same answer as without it."""
    harm = Harm(place)
    headers = place.bearer("deputy_b")
    page = place.cookie("deputy_b") | {"Accept": "text/html"}
    item = place.items["afforest"].id
    every = (*REFUSED, 200, 303)
    filters = st.sampled_from(["after", "limit", "from", "to", "q", "unit", "status", "by", "show",
                               "step", "verdict", "against", "did", "tab", "channel", "lang",
                               "person", "event", "item", "next", "act", "id"])  # fmt: skip
    reads = st.sampled_from([
        "/api/v1/submissions", "/api/v1/inbox", "/api/v1/statistics", "/api/v1/board",
        f"/api/v1/submissions/{item}/diff", f"/api/v1/submissions/{item}/preview", "/items",
        "/items.csv", "/", "/board", "/board/act", "/publishing", "/admin/audit", "/admin/people",
        f"/items/{item}", f"/items/{item}/acts/comment", "/sign-in", "/verify", "/rules",
    ])  # fmt: skip
    auditor = place.cookie(place.people["auditor"]) | {"Accept": "text/html"}
    huge = st.integers(-(10**30), 10**30).map(str)

    @fuzz(cases, 5, junk=anything, read=reads, name=filters, value=st.one_of(anything, huge, latin))
    def _(junk: str, read: str, name: str, value: str) -> None:
        one = quoted(junk)
        for path in (
            f"/api/v1/submissions/{one}", f"/api/v1/submissions/{one}/timeline",
            f"/api/v1/attachments/{one}", f"/api/v1/people/{one}",
        ):  # fmt: skip
            harm.ask("GET", path, every, headers=headers)
        for path in (f"/items/{one}", f"/items/{item}/preview/{one}", f"/items/{item}/acts/{one}",
                     f"/public/{one}", f"/static/{one}", f"/verify/{one}", f"/l/{one}",
                     f"/{one}"):  # fmt: skip
            harm.ask("GET", path, (*every, 308, 503), headers=page)
        query = f"{read}?{name}={quoted(value)}"
        for who in (headers, page, auditor):
            harm.ask("GET", query, every, headers=who)

    harm.done(capsys, "addresses and queries")


def quoted(value: str) -> str:
    from urllib.parse import quote

    return quote(value.encode("utf-8", "surrogatepass"), safe="")
