"""Screening over HTTP: a check that stores nothing, findings in answers and in refusals."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import func, select

from review.records.access import Access, issue_token
from review.records.engine import Ledger
from review.records.tables import Audit, FindingRow, Submission, Version
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.acting import Course
from tests.examples import CHECKLIST, MONDAY

SLIP = "各地严禁焚烧秸杆，压实防火责任，加强野外火源管控。"
FIELDS = {"id", "rule", "severity", "field", "start", "end", "advice", "waived_by"}
DRAFT = {
    "title": "林草工作动态一则", "body": SLIP, "category": "work_news", "kind": "disclosure",
    "source": {"type": "own"}, "channels": ["site"], "secrecy_pledge": True, "proofread": True,
}  # fmt: skip


@pytest.fixture
async def call(quick_ledger: Ledger, tmp_path: Path) -> AsyncIterator[Any]:
    """Return what calls the interface as somebody."""
    settings = Settings(data=tmp_path, secret_key="s" * 32, _env_file=None)
    reviews = Reviews(quick_ledger, None, clock=lambda: MONDAY)
    app = create_app(reviews, Access(quick_ledger), settings)
    tokens: dict[str, str] = {}

    async def ask(who: str, method: str, path: str, body: Any = None, language: str = "zh") -> Any:
        if who not in tokens:
            tokens[who] = quick_ledger.write(issue_token, who, "test", MONDAY)
        return await client.request(
            method, f"/api/v1{path}", json=body,
            headers={"Authorization": f"Bearer {tokens[who]}", "Accept-Language": language},
        )  # fmt: skip

    opened: AbstractAsyncContextManager[httpx.AsyncClient] = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    )
    async with opened as client:
        yield ask


def rows(ledger: Ledger) -> list[int]:
    with ledger.reading() as session:
        return [
            session.exec(select(func.count()).select_from(table)).one()
            for table in (Submission, Version, FindingRow, Audit)
        ]


async def test_check_names_places_and_stores_nothing(call: Any, quick_ledger: Ledger):
    await call("afforest_info", "GET", "/inbox")  # the token's own line in the trail
    before = rows(quick_ledger)

    answer = await call("afforest_info", "POST", "/check", {"title": "题", "body": SLIP})

    [found] = answer.json()["findings"]
    assert set(found) >= FIELDS
    assert (found["rule"], found["severity"], found["field"]) == ("TYPO", "warn", "body")
    assert SLIP[found["start"] : found["end"]] == found["quote"] == "秸杆"
    assert found["suggest"] == "秸秆" and "秸秆" in found["advice"]
    assert rows(quick_ledger) == before


async def test_check_reads_whatever_is_known_of_an_item(call: Any):
    """Each of these is found with the field, and not without it."""
    for body, with_field, rule in (
        ("网传某湿地将建设大型观鸟基地。", {"category": "public_opinion"}, "HEARSAY"),
        ("正文。", {"source": {"type": "repost", "name": "某号", "url": "https://a.example/1"}},
         "REPOST_OFF_LIST"),
        ("正文。", {"ai_generated": True}, "AI_LABEL"),
    ):  # fmt: skip
        given = {"title": "题", "body": body}
        without = await call("afforest_info", "POST", "/check", given)
        with_it = await call("afforest_info", "POST", "/check", given | with_field)
        rules = [{f["rule"] for f in answer.json()["findings"]} for answer in (without, with_it)]
        assert (rule in rules[0]) != (rule in rules[1]), rule


async def test_check_tells_of_stops_without_their_words(call: Any):
    body = "身份证号130100190001010011"

    answer = await call("afforest_info", "POST", "/check", {"title": "题", "body": body})

    [found] = answer.json()["findings"]
    assert (found["rule"], found["severity"]) == ("ID_NUMBER", "stop")
    assert "130100190001010011" not in answer.text


async def test_findings_stand_in_every_answer_in_the_callers_language(
    call: Any, quick_ledger: Ledger
):
    taken = await call("afforest_info", "POST", "/submissions", DRAFT, "en")
    item = taken.json()
    shown = (await call("afforest_head", "GET", f"/submissions/{item['id']}")).json()
    listed = (await call("afforest_head", "GET", "/submissions")).json()["items"][0]

    assert taken.status_code == 201
    assert [one["id"] for one in item["findings"]] == [one["id"] for one in shown["findings"]]
    assert set(shown["findings"][0]) >= FIELDS
    assert item["findings"][0]["advice"] != shown["findings"][0]["advice"]
    assert item["findings"][0]["advice"].isascii() or "秸秆" in item["findings"][0]["advice"]
    assert listed["findings"] == 1


async def test_refused_approval_lists_what_is_open(call: Any, quick_ledger: Ledger):
    course = Course(quick_ledger, body=SLIP)
    course.turn()
    decision = {
        "step": "unit_review", "verdict": "approve", "digest": course.row().digest,
        "checklist": CHECKLIST,
    }  # fmt: skip
    path = f"/submissions/{course.id}/decisions"

    refused = await call("afforest_head", "POST", path, decision)
    unseen = refused.json()["unseen"]
    taken = await call("afforest_head", "POST", path, decision | {"findings_seen": unseen})

    assert (refused.status_code, refused.json()["code"]) == (409, "findings_open")
    assert [one["id"] for one in refused.json()["findings"]] == unseen
    assert set(refused.json()["findings"][0]) >= FIELDS
    assert taken.status_code == 200


async def test_waiver_is_shown_with_who_gave_it(call: Any, quick_ledger: Ledger):
    source = {"type": "repost", "name": "某县融媒体中心", "url": "https://rm.example/8"}
    course = Course(quick_ledger, source=source)
    [found] = [one for one in course.answer["findings"] if one["rule"] == "REPOST_OFF_LIST"]
    path = f"/submissions/{course.id}"
    waive = {"act": "waive", "finding": found["id"]}

    bare = await call("chief", "POST", f"{path}/acts", waive)
    other = await call("deputy_b", "POST", f"{path}/acts", waive | {"reason": "已核实"})
    done = await call("chief", "POST", f"{path}/acts", waive | {"reason": "已核实"})
    again = await call("chief", "POST", f"{path}/acts", waive | {"reason": "已核实"})
    shown = (await call("chief", "GET", path)).json()

    statuses = [answer.status_code for answer in (bare, other, done, again)]
    assert statuses == [422, 403, 200, 409]
    [waived] = [one for one in shown["findings"] if one["id"] == found["id"]]
    assert waived["waived_by"]["id"] == "chief"
    assert waived["waive_reason"] == "已核实"
