"""A reference client that plays the OA over real HTTP: it gets to-dos, and decides by signed hook.

    with OaClient("http://127.0.0.1:8080", key_secret, endpoint_secret) as oa:
        ...register oa.address as an endpoint...
        todo = oa.wait_for(lambda t: t["step"] == "unit_review")
        oa.decide(todo, "approve", checklist=[...])

It knows the published protocol (docs/integration.md) and nothing else of the system.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
TOLERANCE = 300  # seconds


def signature(secret: str, message: str, timestamp: str, body: bytes) -> str:
    """Sign as Standard Webhooks says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class OaClient:
    """A receiver on a real local port, the list of open to-dos, and the way to decide one."""

    def __init__(self, sanshen: str, key_secret: str = "", endpoint_secret: str = "") -> None:
        self.sanshen = sanshen
        self.key_secret = key_secret
        self.endpoint_secret = endpoint_secret
        self.received: list[Json] = []  # every true message once, in the order it came
        self.repeats = 0
        self.forged = 0
        self.todos: dict[str, Json] = {}
        self.script: list[int | float] = []  # statuses to answer first; a float: seconds to wait
        self._ids: set[str] = set()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiving)
        self._server.oa = self  # type: ignore[attr-defined]
        self.address = f"http://127.0.0.1:{self._server.server_port}/todos"

    def __enter__(self) -> "OaClient":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- receiving --------------------------------------------------------------------------------

    def take(self, headers: Any, body: bytes) -> int:
        """Answer one delivery: 401 unless it is truly signed and fresh; a repeat is taken again."""
        message, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
        expected = signature(self.endpoint_secret, message, stamp, body)
        given = headers.get("webhook-signature", "").split(" ")
        fresh = stamp.isdigit() and abs(time.time() - int(stamp)) <= TOLERANCE
        if not fresh or not any(hmac.compare_digest(expected, one) for one in given):
            self.forged += 1
            return 401
        with self._changed:
            if self.script:
                step = self.script.pop(0)
                if isinstance(step, int):
                    return step
                time.sleep(step)
            if message in self._ids:
                self.repeats += 1
                return 204
            self._ids.add(message)
            sent = json.loads(body)
            self.received.append(sent)
            data = sent["data"]
            if sent["type"] in ("todo.opened", "todo.changed"):
                self.todos[data["todo"]] = data
            elif sent["type"] == "todo.closed":
                self.todos.pop(data["todo"], None)
            self._changed.notify_all()
        return 204

    def wait_for(self, wanted: Callable[[Json], bool], within: float = 30) -> Json:
        """Return the first open to-do of a kind, waiting for it."""
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                for todo in self.todos.values():
                    if wanted(todo):
                        return todo
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no such to-do; open are {list(self.todos.values())}")
                self._changed.wait(left)

    def wait_for_event(self, kind: str, within: float = 30) -> Json:
        """Return the first message of a kind, waiting for it."""
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                for sent in self.received:
                    if sent["type"] == kind:
                        return sent
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no {kind}; came: {[m['type'] for m in self.received]}")
                self._changed.wait(left)

    # --- deciding ---------------------------------------------------------------------------------

    def decide(
        self, todo: Json, verdict: str, *, message: str = "", **fields: Any
    ) -> tuple[int, Json]:
        """Decide a to-do as the person of its account; a repeat needs the same `message`."""
        body = {
            "submission": todo["submission"], "account": todo["account"], "step": todo["step"],
            "unit": todo["step_unit"] or None, "round": todo["round"], "digest": todo["digest"],
            "verdict": verdict,
        } | fields  # fmt: skip
        return self.send(json.dumps(body, ensure_ascii=False).encode(), message)

    def send(self, body: bytes, message: str = "") -> tuple[int, Json]:
        """Send a signed body to the hook."""
        message = message or f"oa_{uuid.uuid4().hex}"
        stamp = str(int(time.time()))
        headers = {
            "webhook-id": message,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self.key_secret, message, stamp, body),
            "content-type": "application/json",
        }
        request = urllib.request.Request(f"{self.sanshen}/hooks/decisions", body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)


class _Receiving(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        oa: OaClient = self.server.oa  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.send_response(oa.take(self.headers, body))
            self.send_header("content-length", "0")
            self.end_headers()
        except BrokenPipeError:
            pass  # the sender didn't wait

    def log_message(self, format: str, *args: Any) -> None:
        pass
