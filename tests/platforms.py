"""Platforms that can't be had, as real HTTP servers which speak the documented protocol.

Each obeys a script: a call may be lost before or after it was taken, delayed, taken twice, or
answered with an error. What readers would see is counted apart from what was answered.
"""

import base64
import email
import hashlib
import json
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import policy
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from standardwebhooks import Webhook

SECRET = "whsec_" + "c2FuLXNoZW4tY2hhbm5lbC1zZWNyZXQtb2YtdGVzdHM="
APP_ID, APP_SECRET = "wx0123456789abcdef", "0123456789abcdef0123456789abcdef"
COVER = "cover-1"
PICTURES = "http://mmbiz.qpic.cn/mmbiz_png/"
Json = dict[str, Any]
# lose_before: nothing taken, no answer · lose_after: taken, no answer · twice: taken twice ·
# a number: that error, nothing taken · a float below 10: taken, answered after so many seconds
Fault = str | int | float | None
Script = Callable[[str, int], Fault]


def faultless(_call: str, _n: int) -> Fault:
    return None


def at(call: str, *numbers: int, fault: Fault) -> Script:
    """Misbehave at these calls (from 0) of one kind."""
    return lambda name, n: fault if name == call and n in numbers else None


class Platform:
    """What both have: a server, a script, a count of calls."""

    def __init__(self, script: Script = faultless) -> None:
        self.script = script
        self.calls: Counter[str] = Counter()
        self.lock = threading.RLock()
        self.address = ""

    def answer(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> tuple[int, Json]:
        raise NotImplementedError

    def refusal(self, number: int) -> tuple[int, Json]:
        raise NotImplementedError

    def name_of(self, method: str, path: str) -> str:
        raise NotImplementedError

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port until the block ends; yields the address."""
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def handle_call(self) -> None:
                split = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(split.query).items()}
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                name = platform.name_of(self.command, split.path)
                with platform.lock:
                    n = platform.calls[name]
                    platform.calls[name] += 1
                fault = platform.script(name, n)
                if fault == "lose_before":
                    self.close_connection = True
                    return
                if isinstance(fault, int):
                    self.send(*platform.refusal(fault))
                    return
                for _ in range(2 if fault == "twice" else 1):
                    with platform.lock:
                        said = platform.answer(self.command, split.path, query, self.headers, body)
                if fault == "lose_after":
                    self.close_connection = True
                    return
                if isinstance(fault, float):
                    time.sleep(fault)
                self.send(*said)

            do_GET = do_POST = handle_call

            def send(self, status: int, said: Json) -> None:
                content = json.dumps(said, ensure_ascii=False).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A killed worker hangs up; that is the point."""

        server = Quiet(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self.address
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class FakePush(Platform):
    """A CMS that takes signed pushes, keeps them by key and says what it holds."""

    def __init__(self, script: Script = faultless, *, reviews: bool = False) -> None:
        super().__init__(script)
        self.held: dict[str, Json] = {}
        self.shown: Counter[str] = Counter()  # how often a reader was given an item anew
        self._reviews = reviews

    def name_of(self, method: str, path: str) -> str:
        return "lookup" if method == "GET" else "push"

    def refusal(self, number: int) -> tuple[int, Json]:
        return number, {"error": "by script"}

    def answer(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> tuple[int, Json]:
        signed = {name: headers[name] for name in headers if name.startswith("webhook-")}
        if method == "GET":
            held = self.held.get(path.rpartition("/")[2])
            if held is None:
                return 404, {}
            if held["state"] == "accepted":
                held["state"] = "live"
            return 200, held
        message = Webhook(SECRET).verify(body.decode(), signed)
        deed, data = message["type"].removeprefix("publication."), message["data"]
        known = self.held.get(data["key"])
        if deed == "retract":
            self.held[data["key"]] = {**(known or {}), "state": "retracted", "content": ""}
            return 200, self.held[data["key"]]
        if known is None:
            self.shown[data["key"]] += 1
            known = {
                "id": f"cms-{len(self.held) + 1}",
                "url": f"https://www.example.cn/a/{data['number']}",
                "state": "accepted" if self._reviews else "live",
                "content": data["content"],
                "title": data["title"],
            }
            self.held[data["key"]] = known
            for key, other in self.held.items():
                if data["replaces"] and key == f"{key[:-1]}{data['replaces']}":
                    other["state"] = "retracted"
        return (202 if known["state"] == "accepted" else 200), known


class FakeWechat(Platform):
    """The published protocol of 草稿箱, 发布能力 and 素材, as far as it is used."""

    def __init__(
        self, script: Script = faultless, *, reviews_for: int = 1, verdict: int = 0
    ) -> None:
        super().__init__(script)
        self.drafts: dict[str, Json] = {}
        self.jobs: dict[str, Json] = {}
        self.articles: dict[str, Json] = {}
        self.materials: dict[str, bytes] = {COVER: b""}
        self.pictures: dict[str, bytes] = {}  # by the address that an article may show
        self.shown: Counter[str] = Counter()  # by 摘要: how often readers got an article
        self.tokens: list[str] = []
        self.forced = 0
        self._reviews_for = reviews_for
        self._verdict = verdict

    def name_of(self, method: str, path: str) -> str:
        return path.removeprefix("/cgi-bin/")

    def refusal(self, number: int) -> tuple[int, Json]:
        return 200, {"errcode": number, "errmsg": "by script rid: 0"}

    def expire_tokens(self) -> None:
        with self.lock:
            self.tokens.clear()

    def _token(self, asked: Json) -> tuple[int, Json]:
        if (asked["appid"], asked["secret"]) != (APP_ID, APP_SECRET):
            return self.refusal(40125)
        if asked["force_refresh"] or not self.tokens:
            self.forced += bool(asked["force_refresh"])
            self.tokens.append(f"token-{time.monotonic_ns()}")
        return 200, {"access_token": self.tokens[-1], "expires_in": 7200}

    def answer(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> tuple[int, Json]:
        assert method == "POST"
        name = self.name_of(method, path)
        if name in ("material/add_material", "media/uploadimg"):
            asked = {"type": query.get("type", ""), **_file_of(headers, body)}
        else:
            assert b"\\u" not in body, "the platform shows escapes as they stand"
            asked = json.loads(body)
        if name == "stable_token":
            return self._token(asked)
        if query.get("access_token") not in self.tokens[-1:]:
            return self.refusal(42001 if query.get("access_token") else 40001)
        deed = getattr(self, "_" + name.replace("/", "_"))
        said: tuple[int, Json] = deed(asked)
        return said

    def _material_add_material(self, asked: Json) -> tuple[int, Json]:
        if asked["type"] != "image":
            return self.refusal(40004)
        if len(asked["content"]) > 10 * 2**20:
            return self.refusal(45001)
        media_id = f"material-{len(self.materials)}"
        self.materials[media_id] = asked["content"]
        return 200, {"media_id": media_id, "url": f"{PICTURES}{media_id}/0?wx_fmt=png"}

    def _media_uploadimg(self, asked: Json) -> tuple[int, Json]:
        if asked["media_type"] not in ("image/png", "image/jpeg"):
            return self.refusal(40005)
        if len(asked["content"]) >= 2**20:
            return self.refusal(40009)
        address = f"{PICTURES}{len(self.pictures)}/0?from=appmsg&wx_fmt=png"
        self.pictures[address] = asked["content"]
        return 200, {"url": address}

    def _draft_add(self, asked: Json) -> tuple[int, Json]:
        (article,) = asked["articles"]
        if article["thumb_media_id"] not in self.materials:
            return self.refusal(40007)
        # The platform drops pictures that are not its own.
        article["content"] = re.sub(
            r'<img src="([^"]*)"[^>]*>',
            lambda found: found[0] if unescape(found[1]) in self.pictures else "",
            article["content"],
        )
        if len(article["title"]) > 32:
            return self.refusal(45003)
        if len(article["content"]) >= 20_000:
            return self.refusal(45002)
        media_id = f"media-{len(self.drafts) + len(self.jobs) + 1}-{time.monotonic_ns()}"
        self.drafts[media_id] = article
        return 200, {"media_id": media_id}

    def _draft_batchget(self, asked: Json) -> tuple[int, Json]:
        listed = [
            {"media_id": key, "content": {"news_item": [_without_content(one)]}, "update_time": 0}
            for key, one in reversed(self.drafts.items())
        ]
        return _page(listed, asked)

    def _freepublish_submit(self, asked: Json) -> tuple[int, Json]:
        draft = self.drafts.pop(asked["media_id"], None)
        if draft is None:
            return self.refusal(40007)
        publish_id = str(100000 + len(self.jobs))
        self.jobs[publish_id] = {"draft": draft, "looks": 0, "article": ""}
        if self._reviews_for == 0:
            self._review(publish_id)
        return 200, {"errcode": 0, "errmsg": "ok", "publish_id": publish_id}

    def _review(self, publish_id: str) -> None:
        job = self.jobs[publish_id]
        if not job["article"] and self._verdict == 0:
            article_id = f"article-{publish_id}"
            job["article"] = article_id
            self.shown[job["draft"]["digest"]] += 1
            self.articles[article_id] = {
                **job["draft"],
                "url": f"https://mp.weixin.qq.com/s/{article_id}",
                "is_deleted": False,
                "at": datetime.now(UTC),
            }

    def _freepublish_get(self, asked: Json) -> tuple[int, Json]:
        job = self.jobs.get(asked["publish_id"])
        if job is None:
            return self.refusal(53600)
        job["looks"] += 1
        if job["looks"] < self._reviews_for:
            return 200, {"publish_id": asked["publish_id"], "publish_status": 1}
        self._review(asked["publish_id"])
        said: Json = {"publish_id": asked["publish_id"], "publish_status": self._verdict}
        if job["article"]:
            url = self.articles[job["article"]]["url"]
            said["article_id"] = job["article"]
            said["article_detail"] = {"count": 1, "item": [{"idx": 1, "article_url": url}]}
        return 200, said

    def review_all(self) -> None:
        """The platform gets on with it, whether or not anybody asks."""
        with self.lock:
            for publish_id in self.jobs:
                self._review(publish_id)

    def _freepublish_batchget(self, asked: Json) -> tuple[int, Json]:
        listed = [
            {
                "article_id": key,
                "content": {"news_item": [_without_content(one)]},
                "update_time": int(one["at"].timestamp()),
            }
            for key, one in reversed(self.articles.items())
        ]
        return _page(listed, asked)

    def _freepublish_getarticle(self, asked: Json) -> tuple[int, Json]:
        article = self.articles.get(asked["article_id"])
        if article is None:
            return self.refusal(53600)
        styled = article["content"].replace("<p>", '<p style="margin: 0px;">')
        styled = styled.replace("<img src=", "<img data-src=")
        return 200, {"news_item": [{**_plain(article), "content": styled}]}

    def _freepublish_delete(self, asked: Json) -> tuple[int, Json]:
        article = self.articles.get(asked["article_id"])
        if article is None or article["is_deleted"]:
            return self.refusal(53600)
        article["is_deleted"] = True
        return 200, {"errcode": 0, "errmsg": "ok"}


def _file_of(headers: Any, body: bytes) -> Json:
    """Return the one file of a form."""
    form = email.message_from_bytes(
        f"content-type: {headers['content-type']}\r\n\r\n".encode() + body, policy=policy.HTTP
    )
    (part,) = form.iter_parts()
    assert part.get_param("name", header="content-disposition") == "media" and part.get_filename()
    return {"media_type": part.get_content_type(), "content": part.get_payload(decode=True)}


def _plain(article: Json) -> Json:
    return {name: value for name, value in article.items() if name != "at"}


def _without_content(article: Json) -> Json:
    return {name: value for name, value in _plain(article).items() if name != "content"}


def _page(listed: list[Json], asked: Json) -> tuple[int, Json]:
    assert 1 <= asked["count"] <= 20
    shown = listed[asked["offset"] : asked["offset"] + asked["count"]]
    return 200, {"total_count": len(listed), "item_count": len(shown), "item": shown}


# --- callbacks, as the platform sends them --------------------------------------------------------


def sealed(aes_key: str, receiver: str, xml: str) -> str:
    """Return a text sealed as 消息加解密 lays down."""
    key = base64.b64decode(f"{aes_key}=")
    content = xml.encode()
    plain = secrets.token_bytes(16) + len(content).to_bytes(4, "big") + content + receiver.encode()
    padding = 32 - len(plain) % 32
    encryptor = Cipher(AES(key), CBC(key[:16])).encryptor()
    whole = encryptor.update(plain + bytes((padding,)) * padding) + encryptor.finalize()
    return base64.b64encode(whole).decode()


def signed(token: str, *parts: str) -> str:
    return hashlib.sha1("".join(sorted((token, *parts))).encode()).hexdigest()


def callback(
    token: str, aes_key: str, receiver: str, xml: str, at: datetime
) -> tuple[dict[str, str], str]:
    """Return query and body of a callback in 安全模式."""
    timestamp, nonce = str(int(at.timestamp())), secrets.token_hex(5)
    inside = sealed(aes_key, receiver, xml)
    query = {
        "signature": signed(token, timestamp, nonce), "timestamp": timestamp, "nonce": nonce,
        "openid": "mphelper", "encrypt_type": "aes",
        "msg_signature": signed(token, timestamp, nonce, inside),
    }  # fmt: skip
    return query, (
        "<xml><ToUserName><![CDATA[gh_4d00ed8d6399]]></ToUserName>"
        f"<Encrypt><![CDATA[{inside}]]></Encrypt></xml>"
    )


def publish_finished(publish_id: str, status: int = 0) -> str:
    """Return the event PUBLISHJOBFINISH as the platform's page shows it."""
    detail = "<fail_idx>1</fail_idx>"
    if status == 0:
        detail = (
            "<article_id><![CDATA[b5O2OUs25HBxRceL7hfReg]]></article_id><article_detail>"
            "<count>1</count><item><idx>1</idx><article_url><![CDATA[https://mp.weixin.qq.com/s/x]]>"
            "</article_url></item></article_detail>"
        )
    return (
        "<xml><ToUserName><![CDATA[gh_4d00ed8d6399]]></ToUserName>"
        "<FromUserName><![CDATA[oV5CrjpxgaGXNHIQigzNlgLTnwic]]></FromUserName>"
        "<CreateTime>1481013459</CreateTime><MsgType><![CDATA[event]]></MsgType>"
        "<Event><![CDATA[PUBLISHJOBFINISH]]></Event><PublishEventInfo>"
        f"<publish_id>{publish_id}</publish_id><publish_status>{status}</publish_status>{detail}"
        "</PublishEventInfo></xml>"
    )
