"""Messages to chat robots and phone services, in the forms that Apprise knows.

Apprise says each platform's language; what is spoken goes through `Outgoing` like everything else
of ours: to judged addresses, without redirects or proxies, bounded in size and time. Its log shows
addresses and texts, so it is silenced.
"""

import asyncio
import json
import logging
import sys
import threading
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any, Protocol

import httpx
import requests

from activities.mailbox import Outcome
from activities.outgoing import AddressRefusedError, NotSentError, Outgoing

PATIENCE = 15.0  # seconds for a whole message
BUSY = (408, 425, 429)  # HTTP's ways to say: later
# What a platform answers with 200 and means as no: where it stands, and which of it may pass.
# From the platforms' published lists of codes.
OWN_CODES: Mapping[str, tuple[str, frozenset[int]]] = {
    "wecombot": ("errcode", frozenset({-1, 45009})),
    "dingtalk": ("errcode", frozenset({-1, 130101, 410100})),
    "feishu": ("code", frozenset({9499, 11232})),
    "lark": ("code", frozenset({9499, 11232})),
}
NOT_OURS = ("host", "content-length", "accept-encoding", "connection")


class Speaker(Protocol):
    """Brings one message to one address."""

    async def send(self, url: str, title: str, body: str, *, own: bool) -> Outcome:
        """Send once; every failure is a result.

        Args:
            url: Where to, as Apprise writes it; never in a result or a log.
            own: Whether a person named the address, and not an administrator.
        """


@dataclass
class _Call:
    """One message under way: where its requests go, and what was answered."""

    outgoing: Outgoing
    loop: asyncio.AbstractEventLoop
    until: float
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    error: str = ""
    state: str = ""

    async def request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout_at(self.until):
                answer = await self.outgoing.request(method, url, content=body, headers=headers)
        except AddressRefusedError:
            self.state, self.error = "refused", "address_refused"
            raise
        except NotSentError:
            self.state, self.error = "away", "unreachable"
            raise
        except (TimeoutError, httpx.TimeoutException):
            self.state, self.error = "failed", "timeout"
            raise
        except httpx.HTTPError:
            self.state, self.error = "failed", "protocol"
            raise
        self.answers.append(answer)
        return answer


_call: ContextVar[_Call] = ContextVar("robot_call")


class Robots:
    """Speaks to robots; blocking parts run in threads.

    Args:
        outgoing: For what administrators named: public hosts over TLS, and our own.
        own: For what people named: public hosts over TLS alone.
        patience: Seconds for a whole message.
    """

    def __init__(self, outgoing: Outgoing, own: Outgoing, *, patience: float = PATIENCE) -> None:
        self._outgoing = outgoing
        self._own = own
        self._patience = patience

    async def send(self, url: str, title: str, body: str, *, own: bool) -> Outcome:
        await asyncio.to_thread(_apprise)  # loading it is nobody's patience
        loop = asyncio.get_running_loop()
        call = _Call(self._own if own else self._outgoing, loop, loop.time() + self._patience)
        taken = await asyncio.to_thread(_notify, url, title, body, call)
        return _judged(url.partition("://")[0].lower(), call, taken)


def _notify(url: str, title: str, body: str, call: _Call) -> bool:
    """Let Apprise say a message; tell whether the platform took it, as far as Apprise sees."""
    apprise = _apprise()
    _call.set(call)
    asset = apprise.AppriseAsset(
        app_id="sanshen", app_desc="", app_url="", async_mode=False, http_redirects=False,
        default_service_retry=0, pgp_autogen=False, pem_autogen=False,
    )  # fmt: skip
    plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None or not _speaks_through_us(plugin):
        call.state, call.error = "refused", "unknown_address"
        return False
    plain = apprise.NotifyFormat.TEXT
    content = _convert(plain, plugin.notify_format, body)
    return bool(plugin.notify(body=content, title=title, body_format=plain))


def _convert(given: Any, wanted: Any, body: str) -> str:
    from apprise.conversion import convert_between

    return str(convert_between(given, wanted, body))  # type: ignore[no-untyped-call]


_LOADING = threading.Lock()


def _apprise() -> ModuleType:
    """Return Apprise, which takes a second and 25 MB, with its log silenced."""
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> ModuleType:
    with warnings.catch_warnings():  # of platforms that nobody here speaks to
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        logging.getLogger("apprise").disabled = True
        apprise.Apprise.instantiate("json://localhost")
    return apprise


def _speaks_through_us(plugin: Any) -> bool:
    """Give a platform's module our way to send in place of its own; False where it has another.

    Apprise can't be given a client, so it gets ours under the name that its modules look up.
    """
    modules = {one.__module__ for one in type(plugin).__mro__}
    ours = [sys.modules[name] for name in modules if name.startswith("apprise.plugins.")]
    found = [module for module in ours if hasattr(module, "requests")]
    for module in found:
        module.requests = _CLIENT  # type: ignore[attr-defined]
    return bool(found)


class _Client:
    """What `requests` is to Apprise's modules: its words, and our way to send."""

    def __getattr__(self, name: str) -> Any:
        if name in ("Session", "session", "sessions", "adapters", "api"):
            raise requests.RequestException("sends by another way")
        return getattr(requests, name)

    def request(self, method: str, url: str, **given: Any) -> requests.Response:
        """Send one request of the message under way; certificate and timeout are ours to say."""
        call = _call.get()
        names = ("params", "data", "json", "headers", "auth", "files", "cookies")
        known = {name: given[name] for name in names if given.get(name) is not None}
        prepared = requests.Request(method.upper(), url, **known).prepare()
        body = prepared.body or b""
        if not isinstance(body, str | bytes):
            raise requests.RequestException("sends a stream")
        headers = {
            str(name): str(value)
            for name, value in prepared.headers.items()
            if name.lower() not in NOT_OURS
        }
        sent = call.request(
            str(prepared.method), str(prepared.url),
            body.encode() if isinstance(body, str) else body, headers,
        )  # fmt: skip
        try:
            status, content = asyncio.run_coroutine_threadsafe(sent, call.loop).result()
        except (AddressRefusedError, NotSentError, TimeoutError, httpx.HTTPError) as error:
            raise requests.ConnectionError(type(error).__name__) from None
        answer = requests.Response()
        answer.status_code, answer._content = status, content
        answer.encoding = "utf-8"
        return answer

    def get(self, url: str, **given: Any) -> requests.Response:
        return self.request("GET", url, **given)

    def post(self, url: str, **given: Any) -> requests.Response:
        return self.request("POST", url, **given)

    def put(self, url: str, **given: Any) -> requests.Response:
        return self.request("PUT", url, **given)

    def patch(self, url: str, **given: Any) -> requests.Response:
        return self.request("PATCH", url, **given)

    def delete(self, url: str, **given: Any) -> requests.Response:
        return self.request("DELETE", url, **given)


_CLIENT = _Client()


def _judged(scheme: str, call: _Call, taken: bool) -> Outcome:
    """Return what became of a message, by what was answered rather than by Apprise's yes or no."""
    if call.state == "refused":
        return Outcome("refused", call.error)
    if call.state == "away":
        return Outcome("away", call.error)
    if call.state:
        return Outcome("failed", call.error)
    if not call.answers:
        return Outcome("refused", "unknown_address")
    for status, content in call.answers:
        if status >= 300:
            is_final = status < 500 and status not in BUSY
            return Outcome("refused" if is_final else "failed", str(status))
        if code := _own_code(scheme, content):
            may_pass = code in OWN_CODES[scheme][1]
            return Outcome("failed" if may_pass else "refused", str(code))
    return Outcome("sent") if taken else Outcome("failed", "not_taken")


def _own_code(scheme: str, content: bytes) -> int:
    """Return a platform's own code for what it didn't take; 0 for none."""
    if scheme not in OWN_CODES:
        return 0
    try:
        answer = json.loads(content)
    except ValueError:
        return 0
    code = answer.get(OWN_CODES[scheme][0], 0) if isinstance(answer, dict) else 0
    return code if isinstance(code, int) else 0
