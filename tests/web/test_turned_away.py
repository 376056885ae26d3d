"""Refusals stay in the trace: one entry each for those we know, a sum a minute for strangers."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from review.records.access import Access
from review.records.engine import Ledger
from review.records.tables import Audit
from review.records.tokens import issue_token
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.examples import MONDAY


@pytest.fixture
def reviews(quick_ledger: Ledger) -> Reviews:
    return Reviews(quick_ledger, None, clock=lambda: MONDAY)


@pytest.fixture
async def client(
    quick_ledger: Ledger, reviews: Reviews, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(data=tmp_path, secret_key="s" * 32, _env_file=None)
    app = create_app(reviews, Access(quick_ledger, turned_away=reviews.turned_away.count), settings)
    opened = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
    async with opened as found:
        yield found


@pytest.fixture
def token(quick_ledger: Ledger) -> dict[str, str]:
    secret = quick_ledger.write(issue_token, "fire_info", "test", MONDAY)
    return {"Authorization": f"Bearer {secret}"}


def entries(ledger: Ledger, event: str) -> list[Audit]:
    with ledger.reading() as session:
        return list(session.exec(select(Audit).where(Audit.event == event).order_by(Audit.seq)))


@pytest.mark.parametrize("side", ["", "/timeline", "/versions", "/form.html"])
async def test_reading_what_is_not_theirs_leaves_one_entry(client, quick_ledger, token, side):
    answer = await client.get(f"/api/v1/submissions/made-up-address{side}", headers=token)

    (entry,) = entries(quick_ledger, "refused")
    assert answer.status_code == 404
    assert (entry.person_id, entry.way_in) == ("fire_info", "api")
    assert entry.data["code"].startswith("not_found")
    assert entry.data["what"].startswith("GET /api/v1/submissions/{")
    assert "made-up" not in str(entry.data)


async def test_refused_act_is_written_down_once(client, quick_ledger, token):
    answer = await client.post(
        "/api/v1/submissions/none/acts", json={"act": "hold", "reason": "x"}, headers=token
    )

    assert answer.status_code == 404
    assert len(entries(quick_ledger, "refused")) == 1


async def test_codec_refusal_is_written_down(client, quick_ledger, token):
    await client.post("/codec/decode", json={}, headers=token)

    (entry,) = entries(quick_ledger, "refused")
    assert entry.data == {"what": "POST /codec/decode", "code": "not_allowed"}


async def test_strangers_leave_a_sum_only(client, quick_ledger, reviews):
    for n in range(40):
        await client.get(f"/api/v1/submissions/{n}", headers={"Authorization": f"Bearer t{n}"})
        await client.post("/hooks/decisions", content=b"junk")
    assert not entries(quick_ledger, "turned_away") + entries(quick_ledger, "refused")

    await reviews.turned_away.flush()
    await reviews.turned_away.flush()

    found = entries(quick_ledger, "turned_away")
    assert sorted(one.data["count"] for one in found) == [40, 40]


async def test_made_up_kinds_fill_no_memory(reviews, quick_ledger):
    for n in range(5_000):
        reviews.turned_away.count("x", str(n))

    await reviews.turned_away.flush()

    assert len(entries(quick_ledger, "turned_away")) <= 1_001
