"""Keys and endpoints over the interface: shown once, and never kept for a repeat."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from review.records.engine import Ledger
from review.records.tokens import issue_token
from tests.examples import MONDAY
from tests.web.conftest import browser


@pytest.fixture
async def security(make_app, quick_ledger: Ledger) -> AsyncIterator[httpx.AsyncClient]:
    token = quick_ledger.write(issue_token, "security", "t", MONDAY)
    async with browser(make_app()) as found:
        found.headers["Authorization"] = f"Bearer {token}"
        yield found


async def test_secret_is_in_the_first_answer_alone_and_in_no_row(security, tmp_path: Path):
    asked = {"json": {"key": "oa", "roles": ["unit_head"]}, "headers": {"Idempotency-Key": "k1"}}

    first = await security.post("/api/v1/hooks/keys", **asked)
    again = await security.post("/api/v1/hooks/keys", **asked)
    listed = await security.get("/api/v1/hooks")

    secret = first.json()["secret"]
    assert (first.status_code, again.json()) == (201, first.json() | {"secret": None})
    assert secret not in listed.text
    (file,) = tmp_path.rglob("ledger.db")
    with sqlite3.connect(file) as raw:
        dump = "\n".join(raw.iterdump())
    assert secret.removeprefix("whsec_") not in dump


async def test_key_is_changed_and_retired_and_an_endpoint_lives_its_life(security):
    await security.post("/api/v1/hooks/keys", json={"key": "oa"})
    changed = await security.post("/api/v1/hooks/keys/oa/secret", json={})
    assert changed.status_code == 201 and changed.json()["secret"]
    keys = (await security.get("/api/v1/hooks")).json()["keys"]
    assert [key["state"] for key in keys] == ["valid", "valid"]
    assert (await security.delete(f"/api/v1/hooks/keys/{keys[0]['id']}")).status_code == 200

    made = (
        await security.post(
            "/api/v1/hooks/endpoints", json={"endpoint": "oa", "url": "https://oa.example/t"}
        )
    ).json()
    path = f"/api/v1/hooks/endpoints/{made['id']}"
    assert made["secret"]
    assert (await security.post(path, json={"paused": True})).json()["paused"] is True
    assert (await security.post(path, json={"url": "http://user@x/"})).status_code == 422
    assert (await security.post(f"{path}/secret", json={})).json()["secret"]
    assert (await security.post(f"{path}/secret", json={})).status_code == 409
    (row,) = (await security.get("/api/v1/hooks")).json()["endpoints"]
    assert row["paused"] and row["old_secret_until"]
    assert (await security.delete(path)).status_code == 200
    assert (await security.get("/api/v1/hooks/messages")).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "body",
    [
        {"key": "a b"}, {"key": ""}, {"key": "oa", "units": ["none"]}, {"key": "oa", "x": 1},
        {"key": "oa", "until_at": "2020-01-01T00:00:00Z"}, {"key": "oa", "people": ["nobody"]},
        {"key": "oa", "from_at": "2026-01-01T00:00:00"},
    ],
)  # fmt: skip
async def test_wrong_keys_are_422_and_make_nothing(security, body):
    answer = await security.post("/api/v1/hooks/keys", content=json.dumps(body),
                                 headers={"content-type": "application/json"})  # fmt: skip

    assert answer.status_code == 422, answer.text
    assert (await security.get("/api/v1/hooks")).json()["keys"] == []
