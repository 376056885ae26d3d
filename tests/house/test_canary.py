"""A stopped text reaches no file, log, open file or row, whatever door it comes by (R1.3-4)."""

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import inspect, text
from sqlmodel import Session

from review.records.engine import Ledger
from review.requests import ActRequest, DecisionRequest, NewVersion
from review.rules.errors import RefusedError
from starter.reviews import Reviews
from starter.web.hook import Key
from tests.acting import Course
from tests.examples import CHECKLIST, a_draft, who
from tests.faults.whole import Tree, fill

CANARY = f"canary{secrets.token_hex(8)}"
CONTROL = f"control{secrets.token_hex(8)}"  # in a text that is stored: what searches also finds
STOPS = {
    "marking": f"秘密★1年 {CANARY}",
    "hidden marking": f"机\u200b密 ★ {CANARY}",
    "marking line": f"密级：机密\n{CANARY}",
    "identity number": f"{CANARY}，身份证号 130100190001010011",
    "wide identity number": f"{CANARY}，１３０１００１９０００１０１００１１",
    "card": f"{CANARY}，卡号 6222 0200 0000 0000 000",
}
EVERYWHERE = ("marking", "identity number")  # sent by every door; the others as a submission
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
DRAFT = {
    "title": "林草工作动态一则", "body": "正文。", "category": "work_news", "kind": "disclosure",
    "source": {"type": "own"}, "channels": ["site"], "secrecy_pledge": True, "proofread": True,
}  # fmt: skip


class Doors:
    """Every way by which somebody's text comes in over HTTP."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self._url = url
        self._tokens = tokens
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)
        answer = self.post("afforest_info", "/submissions", DRAFT | {"body": f"正文 {CONTROL}。"})
        self.item = answer.json()["id"]
        self.digest = answer.json()["digest"]

    def post(self, person: str, path: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self._client.post(
            f"/api/v1{path}", content=content,
            headers={
                "Authorization": f"Bearer {self._tokens[person]}",
                "Content-Type": "application/json",
                "Idempotency-Key": secrets.token_hex(8),
            },
        )  # fmt: skip

    def hook(self, body: Any) -> httpx.Response:
        content = json.dumps(body, ensure_ascii=False).encode()
        message, at = secrets.token_hex(8), str(int(time.time()))
        signature = Key.of("k", SECRET).sign(message, at, content).decode()
        headers = {
            "Content-Type": "application/json", "webhook-id": message, "webhook-timestamp": at,
            "webhook-signature": signature,
        }  # fmt: skip
        return self._client.post("/hooks/decisions", content=content, headers=headers)

    def submitted(self, stop: str) -> tuple[str, httpx.Response]:
        return "body", self.post("afforest_info", "/submissions", DRAFT | {"body": stop})

    def stopping(self, stop: str) -> Iterator[tuple[str, httpx.Response]]:
        """Send a text by every door that must answer with a stop."""
        for field in ("title", "body", "background", "contact", "audience", "how_to", "sub_type",
                      "authority_reference", "other_outlets"):  # fmt: skip
            if field == "title" and len(stop) > 60:
                continue
            yield field, self.post("afforest_info", "/submissions", DRAFT | {field: stop})
        attachment = {"id": "a1", "caption": stop, "transcript": stop}
        yield (
            "caption",
            self.post("afforest_info", "/submissions", DRAFT | {"attachments": [attachment]}),
        )
        source = {"type": "repost", "name": stop, "url": "https://www.news.cn/1"}
        yield "source", self.post("afforest_info", "/submissions", DRAFT | {"source": source})
        source = {"type": "repost", "name": "新华社", "url": "https://www.news.cn/1",
                  "original_title": "原题", "original_body": stop}  # fmt: skip
        yield "original", self.post("afforest_info", "/submissions", DRAFT | {"source": source})
        path = f"/submissions/{self.item}"
        version = {"base_digest": self.digest}
        yield "version", self.post("afforest_info", f"{path}/versions", version | {"body": stop})
        yield "note", self.post("afforest_info", f"{path}/versions", version | {"note": stop})
        decision = {"step": "unit_review", "verdict": "approve", "digest": self.digest}
        yield (
            "opinion",
            self.post("afforest_head", f"{path}/decisions", decision | {"opinion": stop}),
        )
        named = decision | {"checklist": {stop.replace("\n", " "): True}}
        if "\n" not in stop:
            yield "checklist", self.post("afforest_head", f"{path}/decisions", named)
        yield "foreign", self.post("admin", f"{path}/decisions", decision | {"opinion": stop})
        for act in ("comment", "hold", "withdraw", "waive", "transfer", "urge"):
            given = {"act": act, "reason": stop}
            yield act, self.post("chief", f"{path}/acts", given)
        given = {"act": "external_opinion", "organisation": stop, "opinion": stop}
        yield "external", self.post("chief", f"{path}/acts", given)
        hooked = decision | {"submission": self.item, "account": "afforest_head", "opinion": stop}
        yield "hook", self.hook(hooked)

    def refusing(self, stop: str) -> Iterator[tuple[str, httpx.Response]]:
        """Send a text where it has no business: malformed, unknown, as a name."""
        yield "no JSON", self.post("afforest_info", "/submissions", f'{{"body": "{stop}'.encode())
        yield "no text", self.post("afforest_info", "/submissions", DRAFT | {"body": [stop]})
        yield "unknown field", self.post("afforest_info", "/submissions", DRAFT | {stop: "x"})
        yield "unknown value", self.post("afforest_info", "/submissions", DRAFT | {"kind": stop})
        yield "not UTF-8", self.post("afforest_info", "/submissions", stop.encode("gb18030"))
        yield (
            "address",
            self.post("afforest_info", f"/submissions/{quote(stop)}/acts", {"act": "urge"}),
        )
        body = {"username": stop, "password": stop}
        yield "sign-in", self._client.post("/api/v1/session", json=body)
        headers = {"Authorization": f"Bearer {self._tokens['chief']}"}
        yield (
            "search",
            self._client.get("/api/v1/submissions", params={"status": stop}, headers=headers),
        )
        yield "unsigned", self._client.post("/hooks/decisions", json={"opinion": stop})

    def close(self) -> None:
        self._client.close()


def everything_kept(tree: Tree) -> dict[str, bytes]:
    """Return each file of the whole, and each that one of its processes has open, by name."""
    log = tree.data.parent / f"{tree.data.name}.up.log"
    kept = {str(path): path.read_bytes() for path in [*tree.data.rglob("*"), log] if path.is_file()}
    for part in ("supervisor", "worker", "web", "engine"):
        pid = tree.pid(part)
        assert pid is not None, part
        for open_ in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if open_.resolve().is_file() or "(deleted)" in os.readlink(open_):
                    kept[f"{part}: {os.readlink(open_)}"] = open_.read_bytes()
            except OSError:
                continue  # closed meanwhile, or nothing that can be read
    return kept


def having(kept: dict[str, bytes], word: str) -> list[str]:
    return [name for name, content in kept.items() if word.encode() in content]


def test_stopped_text_reaches_no_file_log_or_open_file_of_the_whole(tmp_path: Path):
    data = tmp_path / "data"
    tokens = fill(data)
    (data / ".env").write_text(f"SANSHEN_OA_WEBHOOK_KEYS=k:{SECRET}\n")
    with Tree(data) as tree:
        tree.start()
        doors = Doors(tree.url, tokens)
        sent = 0
        for name, stop in STOPS.items():
            every_door = name in EVERYWHERE
            for door, answer in doors.stopping(stop) if every_door else [doors.submitted(stop)]:
                assert answer.status_code == 409, (name, door, answer.text)
                assert answer.json()["code"] == "screening_stop", (name, door, answer.text)
                assert CANARY not in answer.text
                sent += 1
            for door, answer in doors.refusing(stop) if every_door else []:
                assert 400 <= answer.status_code < 500, (name, door, answer.text)
                sent += 1
            checked = doors.post("afforest_info", "/check", {"title": "题", "body": stop})
            assert {one["severity"] for one in checked.json()["findings"]} >= {"stop"}, name
        doors.close()
        time.sleep(2)  # the relay delivers what security is told

        kept = everything_kept(tree)

    print(f"{sent} texts sent, {len(kept)} files searched")
    assert having(kept, CONTROL), "the search finds nothing at all"
    assert any(name.endswith(".eml") for name in kept), "security was told by mail"
    assert having(kept, CANARY) == []
    assert having(kept, "130100190001010011") == []
    after = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert having(after, CANARY) == []


# --- rows, on both databases ----------------------------------------------------------------------


def every_row(session: Session) -> str:
    """Return all rows of all tables as text."""
    connection = session.connection()
    tables = inspect(connection).get_table_names()
    assert len(tables) > 20
    return "\n".join(
        str(list(connection.execute(text(f'SELECT * FROM "{table}"')))) for table in tables
    )


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS.keys())
async def test_stopped_text_is_in_no_row(ledger: Ledger, stop: str):
    course = Course(ledger, body=f"正文 {CONTROL}。")
    course.turn()
    reviews = Reviews(ledger, None)

    def person(name: str) -> Any:
        with ledger.reading() as session:
            return who(session, name)

    decision = DecisionRequest(
        step="unit_review", verdict="approve", digest=course.row().digest, checklist=CHECKLIST,
        opinion=stop,
    )  # fmt: skip
    version = NewVersion(base_digest=course.row().digest, body=stop)
    head, author = person("afforest_head"), person("afforest_info")
    tries: list[Callable[[], Any]] = [
        lambda: reviews.submit(author, a_draft(body=stop), key="k1", way_in="api"),
        lambda: reviews.new_version(head, course.id, version, key="k2", way_in="api"),
        lambda: reviews.decide(head, course.id, decision, decision_id="d1", way_in="oa"),
        lambda: reviews.act(
            head, course.id, ActRequest(act="comment", reason=stop), key="k3", way_in="page"
        ),
    ]
    for attempt in tries:
        with pytest.raises(RefusedError) as refused:
            await attempt()
        assert refused.value.code == "screening_stop"
    await reviews.check(author, {"title": "题目一则", "body": stop})

    with ledger.reading() as session:
        rows = every_row(session)
    assert CONTROL in rows
    assert rows.count("screening_stop") == 2 * len(tries)  # a line in the trail, a notice
    assert CANARY not in rows
