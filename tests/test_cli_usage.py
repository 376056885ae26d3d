"""Wrong usage is one line and an exit code, never a traceback; right usage asks the interface."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from review.acts.lists import lists_in_force
from review.records.bureau import import_roster, roster_of
from review.records.engine import Ledger, upgrade
from starter.cli_doctor import in_ledger

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
TOKEN = "t0ken"
ITEM = {
    "id": "s1",
    "number": "2026-000001",
    "title": "[春季] 造林",
    "status": "in_review",
    "version": 1,
    "round": 1,
    "digest": "d" * 64,
    "open_steps": ["second_review"],
    "plan": [
        {
            "step": "second_review",
            "round": 1,
            "role": "center_deputy",
            "people": [{"id": "p1", "name": "李"}],
            "state": "open",
            "due_at": "2026-11-23T12:00:00+08:00",
            "explanation": ["复审限时 2 个工作小时"],
        }
    ],
}
PROBLEM = {"status": 409, "code": "stale_version", "detail": "稿件已有新版本"}


class FakeWeb(HTTPServer):
    """Keeps what it was asked, and answers what the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        self.answers: dict[str, tuple[int, Any]] = {}


class Answering(BaseHTTPRequestHandler):
    server: FakeWeb

    def answer(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(size)
        is_json = self.headers.get("content-type") == "application/json"
        body = json.loads(raw) if is_json else raw or None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, body, headers))
        status, found = self.server.answers.get(f"{self.command} {self.path}", (200, ITEM))
        answer = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = answer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[FakeWeb]:
    with FakeWeb() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sanshen(
    *args: str, cwd: Path, given: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SANSHEN_")}
    root = str(Path(__file__).parents[1])
    kept |= {"PYTHONPATH": os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))}
    done = subprocess.run(
        [sys.executable, "-m", "starter.cli", *args],
        capture_output=True,
        cwd=cwd,
        env=kept | environment,
        input=given,
        text=True,
        timeout=30,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def as_person(*args: str, web: FakeWeb, cwd: Path, given: str = "") -> Any:
    return sanshen(*args, "--url", web.url, "--token", TOKEN, cwd=cwd, given=given)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


COMMANDS = [
    *("up", "demo", "worker", "web", "submit", "revise", "decide", "act", "status", "list"),
    *("inbox", "board", "stats", "timeline", "check", "doctor", "people/import", "token/issue"),
    *("attach", "password/set", "policy/check", "policy/show", "calendar/import", "words/import"),
    *("sources/import", "audit/verify", "audit/export", "audit/checkpoint", "db/upgrade"),
    *("form", "export/ledger", "export/item", "policy/rehearse", "backup", "restore"),
    "db/prepare",
    "quality",
    *("order/list", "order/open", "order/show", "order/act", "incident/list", "incident/show"),
    *("incident/register", "incident/act", "violation/list", "violation/open", "violation/show"),
    *("topic/list", "topic/open", "topic/show", "topic/act", "related", "violation/act"),
    *("bulletin/list", "bulletin/show", "bulletin/act", "bulletin/submit"),
    *("hook/list", "hook/add", "hook/rotate", "hook/retire", "hook/tell", "hook/resign"),
    *("hook/pause", "hook/go-on", "hook/untell", "hook/log", "hook/resend", "people/oa-account"),
    *("channel/list", "channel/changes", "channel/propose", "channel/decide", "channel/connect"),
    "channel/callback",
    *("retention/report", "retention/run"),
    *("notices/show", "notices/choose", "notices/add", "notices/remove", "duty/import"),
    "duty/list",
]


def test_every_command_explains_itself_with_an_example():
    import typer

    from starter.cli import app

    group = typer.main.get_command(app)
    for path in COMMANDS:
        command: Any = group
        for name in path.split("/"):
            command = command.commands[name]

        assert "Example: " in command.help, path


def test_help_is_quick(tmp_path):
    started = time.perf_counter()

    done = sanshen("--help", cwd=tmp_path)

    assert done.returncode == 0
    assert "submit" in done.stdout
    assert time.perf_counter() - started < 5  # 0.4 s on a free machine


@pytest.mark.parametrize(
    "args",
    [("nothing",), ("decide",), ("status",), ("list", "--limit", "0"), ("up", "--port", "x")],
)
def test_wrong_usage_is_2(args, tmp_path):
    assert sanshen(*args, cwd=tmp_path).returncode == 2


def test_without_a_token_it_is_5(tmp_path):
    done = sanshen("inbox", cwd=tmp_path)

    assert done.returncode == 5
    assert "SANSHEN_TOKEN" in one_line(done)


def test_with_nothing_running_it_is_3(tmp_path):
    noted = sanshen("inbox", "--token", TOKEN, cwd=tmp_path)
    closed = sanshen("inbox", "--token", TOKEN, "--url", "http://127.0.0.1:1", cwd=tmp_path)

    assert (noted.returncode, closed.returncode) == (3, 3)
    assert one_line(noted) and one_line(closed)


@pytest.mark.parametrize("url", ["ftp://x", "nowhere", "http://[", "http://a b"])
def test_odd_addresses_are_2(url, tmp_path):
    done = sanshen("inbox", "--token", TOKEN, "--url", url, cwd=tmp_path)

    assert done.returncode in (2, 3)
    one_line(done)


def test_language_follows_the_setting(tmp_path):
    assert "Give a token" in sanshen("inbox", cwd=tmp_path, SANSHEN_LANGUAGE="en").stderr
    assert "令牌" in sanshen("inbox", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [(401, 5), (403, 5), (404, 4), (409, 1), (413, 2), (415, 2), (422, 2), (429, 3), (503, 3)],
)
def test_refusals_have_their_exit_codes(status, exit_code, web, tmp_path):
    web.answers["GET /api/v1/submissions/s1"] = (status, PROBLEM | {"status": status})

    done = as_person("status", "s1", web=web, cwd=tmp_path)

    assert done.returncode == exit_code
    assert "稿件已有新版本" in one_line(done)


def test_what_can_be_no_id_is_4(web, tmp_path):
    assert as_person("status", "../people", web=web, cwd=tmp_path).returncode == 4
    assert web.asked == []


def test_status_says_why_each_open_step_is_due(web, tmp_path):
    done = as_person("status", "s1", web=web, cwd=tmp_path)

    assert done.returncode == 0
    assert "[春季] 造林" in done.stdout
    assert "因为：复审限时 2 个工作小时" in done.stdout


def test_facts_come_as_json_too(web, tmp_path):
    done = as_person("status", "s1", "--json", web=web, cwd=tmp_path)

    assert json.loads(done.stdout) == ITEM


def test_decide_takes_the_open_step_and_the_current_digest(web, tmp_path):
    done = as_person(
        *("decide", "s1", "approve", "--opinion", "同意", "--check", "true", "--key", "k1"),
        web=web,
        cwd=tmp_path,
    )

    assert done.returncode == 0
    method, path, body, headers = web.asked[-1]
    assert (method, path) == ("POST", "/api/v1/submissions/s1/decisions")
    assert body == {
        "step": "second_review",
        "verdict": "approve",
        "digest": "d" * 64,
        "opinion": "同意",
        "checklist": {"true": True},
    }
    assert headers["idempotency-key"] == "k1"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "2026-000001" in done.stderr


def test_markdown_carries_its_fields_before_the_text(web, tmp_path):
    (tmp_path / "notice.md").write_text(
        "---\ncategory: work_news\nevent_time: 2026-11-22T10:00:00+08:00\n"
        "channels: [site]\n---\n\n# 春季造林工作启动\n\n正文。\n",
        encoding="utf-8",
    )

    done = as_person("submit", "notice.md", web=web, cwd=tmp_path)

    assert done.returncode == 0
    assert web.asked[0][2] == {
        "category": "work_news",
        "event_time": "2026-11-22T10:00:00+08:00",
        "channels": ["site"],
        "title": "春季造林工作启动",
        "body": "正文。\n",
    }
    assert web.asked[0][3]["idempotency-key"]


def test_revise_starts_from_the_current_version(web, tmp_path):
    (tmp_path / "new.yaml").write_text("title: 新的标题文字\ncategory: important\n", "utf-8")

    done = as_person("revise", "s1", "new.yaml", "--change", "wording", web=web, cwd=tmp_path)

    assert done.returncode == 0
    assert web.asked[-1][1:3] == (
        "/api/v1/submissions/s1/versions",
        {"title": "新的标题文字", "base_digest": "d" * 64, "change": "wording"},
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"[1]"),
        ("a.yaml", b"a: [1"),
        ("a.yaml", b"a: 'x\n b: c: d"),
        ("a.yaml", b"!!python/object:os.system {}"),
        ("a.md", b"---\ntitle: x\n"),
        ("a.md", b"\xff\xfe"),
        ("a.md", b"x" * 2_200_000),
    ],
)
def test_files_that_are_no_text_are_2(name, content, web, tmp_path):
    (tmp_path / name).write_bytes(content)

    done = as_person("submit", name, web=web, cwd=tmp_path)

    assert done.returncode == 2
    assert name in one_line(done)
    assert web.asked == []


def test_a_missing_file_is_2(web, tmp_path):
    done = as_person("submit", "none.md", web=web, cwd=tmp_path)

    assert done.returncode == 2
    assert "none.md" in one_line(done)


ROSTER = {
    "units": [{"id": "u1", "name": "造林处"}, {"id": "center", "name": "宣传中心"}],
    "people": [
        {"username": "wang", "name": "王", "unit": "u1", "roles": ["info_officer"]},
        {"username": "li", "name": "李", "unit": "u1", "roles": ["unit_head"], "backup": "wang"},
        {"username": "zhao", "name": "赵", "unit": "center", "roles": ["center_chief"]},
    ],
    "channels": [
        {"id": "site", "name": "网站", "platform": "site", "operator_unit": "center"},
    ],
    "delegations": [
        {
            "from": "li",
            "to": "wang",
            "from_at": "2026-11-01T00:00:00+08:00",
            "until_at": "2026-12-01T00:00:00+08:00",
        }
    ],
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade(url)
    found = Ledger(url)
    yield found
    found.close()


def test_what_changed_is_told(ledger, tmp_path):
    (tmp_path / "roster.json").write_text(json.dumps(ROSTER), encoding="utf-8")

    done = sanshen("people", "import", "roster.json", "--data", ".", cwd=tmp_path)

    assert done.returncode == 0
    assert "单位 2" in done.stdout


def test_a_wrong_roster_file_is_one_line(ledger, tmp_path):
    (tmp_path / "roster.yaml").write_text("people: [{username: x}]\n", encoding="utf-8")

    done = sanshen("people", "import", "roster.yaml", "--data", ".", cwd=tmp_path)

    assert done.returncode == 2
    assert "people.0.name" in one_line(done)


def test_the_trace_is_proved_and_what_was_cut_off_shows(ledger, tmp_path):
    ledger.write(import_roster, roster_of(ROSTER), NOW)
    ledger.close()
    here = ("--data", ".")

    kept = sanshen("audit", "checkpoint", "kept.json", *here, cwd=tmp_path)
    good = sanshen("audit", "verify", "--checkpoint", "kept.json", *here, cwd=tmp_path)
    exported = sanshen("audit", "export", "trace.jsonl", *here, cwd=tmp_path)
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("DELETE FROM audit")
    database.close()
    cut = sanshen("audit", "verify", "--checkpoint", "kept.json", *here, cwd=tmp_path)

    assert [done.returncode for done in (kept, good, exported, cut)] == [0, 0, 0, 1]
    lines = (tmp_path / "trace.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events[-2:] == ["roster_imported", "checkpoint_signed"]
    one_line(cut)


def test_the_doctor_finds_what_the_ledger_lacks(ledger):
    found = {one["what"] for one in ledger.write(in_ledger, NOW)}

    assert found == {"policy_missing", "calendar_missing"}


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough" * 100])
def test_a_ledger_that_is_none_is_3(content, tmp_path):
    if content is not None:
        (tmp_path / "ledger.db").write_bytes(content)

    done = sanshen("audit", "verify", "--data", ".", cwd=tmp_path)

    assert done.returncode == 3
    one_line(done)


def test_lists_are_imported_and_a_mistake_is_told_with_its_line(ledger, tmp_path):
    (tmp_path / "words.yaml").write_text('version: "2027"\ntypos: {秸杆: 秸秆}\n', encoding="utf-8")
    (tmp_path / "sources.yaml").write_text(
        'version: "2027"\nsources:\n  - {name: 新华社, hosts: [news.cn]}\n', encoding="utf-8"
    )
    (tmp_path / "wrong.yaml").write_text('version: "2027"\ntypo: {}\n', encoding="utf-8")

    taken = sanshen("words", "import", "words.yaml", "--data", ".", "--json", cwd=tmp_path)
    again = sanshen("words", "import", "words.yaml", "--data", ".", "--json", cwd=tmp_path)
    sources = sanshen("sources", "import", "sources.yaml", "--data", ".", cwd=tmp_path)
    wrong = sanshen("words", "import", "wrong.yaml", "--data", ".", cwd=tmp_path)

    assert [json.loads(done.stdout)["changed"] for done in (taken, again)] == [True, False]
    assert (sources.returncode, wrong.returncode) == (0, 1)
    assert "wrong.yaml:2: typo" in one_line(wrong)
    with ledger.reading() as session:
        found = lists_in_force(session)
    assert (found.words.version, found.sources.version) == ("2027", "2027")


def test_attach_uploads_a_file(web, tmp_path):
    (tmp_path / "图.png").write_bytes(b"bytes of it")
    web.answers["POST /api/v1/attachments"] = (201, {"id": "a1", "findings": []})

    done = as_person("attach", "图.png", "--key", "k1", "--json", web=web, cwd=tmp_path)

    assert (done.returncode, json.loads(done.stdout)["id"]) == (0, "a1")
    [(_, _, body, headers)] = web.asked
    assert headers["content-type"].startswith("multipart/form-data")
    assert headers["idempotency-key"] == "k1"
    assert b"bytes of it" in body and 'filename="图.png"'.encode() in body


def test_submit_uploads_what_it_names_by_path(web, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "map.png").write_bytes(b"a map")
    (folder / "notice.md").write_text(
        "---\ntitle: 造林\nattachments:\n"
        "  - {path: map.png, caption: 分布图}\n  - map.png\n  - {id: a0}\n---\n正文。\n",
        encoding="utf-8",
    )
    web.answers["POST /api/v1/attachments"] = (201, {"id": "a1"})

    done = as_person("submit", "texts/notice.md", "--key", "k", web=web, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    *uploads, (_, path, body, headers) = web.asked
    assert [asked[3]["idempotency-key"] for asked in uploads] == ["k:1", "k:2"]
    assert (path, headers["idempotency-key"]) == ("/api/v1/submissions", "k")
    assert body["attachments"] == [{"id": "a1", "caption": "分布图"}, {"id": "a1"}, {"id": "a0"}]


def test_a_file_that_is_not_there_is_wrong_usage(web, tmp_path):
    done = as_person("attach", "none.png", web=web, cwd=tmp_path)
    assert done.returncode == 2
    assert "none.png" in one_line(done)


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        (
            ("order", "open", "fire", "造林数据未及时发布", "--urgent"),
            "/api/v1/supervision-orders",
            {"unit": "fire", "subject": "造林数据未及时发布", "urgent": True},
        ),
        (
            ("order", "act", "s1", "rectify", "--text", "已补报"),
            "/api/v1/supervision-orders/s1/acts",
            {"act": "rectify", "text": "已补报"},
        ),
        (
            ("incident", "act", "s1", "authorise", "--authority", "省森防指", "--reference", "1号"),
            "/api/v1/incidents/s1/acts",
            {"act": "authorise", "authority": "省森防指", "reference": "1号"},
        ),
        (
            ("violation", "open", "3", "数据与年报不一致", "--submission", "2026-000001"),
            "/api/v1/violations",
            {"kind": 3, "subject": "数据与年报不一致", "submission": "2026-000001"},
        ),
        (
            ("violation", "act", "s1", "find", "--result", "none", "--text", "不成立"),
            "/api/v1/violations/s1/acts",
            {"act": "find", "text": "不成立", "result": "none"},
        ),
    ],
)
def test_matters_are_asked_for_as_the_interface_wants(args, path, body, web, tmp_path):
    done = as_person(*args, "--json", web=web, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    method, asked, sent, headers = web.asked[-1]
    assert (method, asked, sent) == ("POST", path, body)
    assert headers["idempotency-key"]


def test_refused_acts_on_matters_have_their_exit_codes(web, tmp_path):
    web.answers["POST /api/v1/incidents/s1/acts"] = (409, PROBLEM)
    web.answers["GET /api/v1/violations/s1"] = (404, PROBLEM | {"status": 404})

    refused = as_person("incident", "act", "s1", "close", web=web, cwd=tmp_path)
    missing = as_person("violation", "show", "s1", web=web, cwd=tmp_path)
    odd = as_person("order", "show", "../people", web=web, cwd=tmp_path)
    wrong = as_person("violation", "open", "7", "数据与年报不一致", web=web, cwd=tmp_path)

    assert [one.returncode for one in (refused, missing, odd, wrong)] == [1, 4, 4, 2]
