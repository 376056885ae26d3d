"""HTTP to other houses: known addresses only, no redirects, bounded in size and time.

The address that was judged is the address that is spoken to: a name is looked up once, and the
connection goes to that answer (design, edges).
"""

import asyncio
import socket
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import httpx

from review.addresses import is_public

PATIENCE = httpx.Timeout(20, connect=5)
LONGEST_ANSWER = 8 * 2**20  # bytes


class AddressRefusedError(Exception):
    """An address that must not be spoken to; the reason names no more than the host."""


class NotConnectedError(Exception):
    """Nobody registered how this channel is reached, or not rightly."""


class NotSentError(Exception):
    """The other side could not be reached, so it surely got nothing."""


class Answered(NamedTuple):
    """An answer, whole."""

    status: int
    content: bytes


async def judged(host: str, port: int, internal: Collection[str], *, tls: bool) -> str:
    """Return the one address to connect to for a host, whatever its name stands for later.

    Args:
        internal: Hosts (`host` or `host:port`) of our own network.
        tls: Whether what is sent is sealed on its way, or need not be.

    Raises:
        AddressRefusedError: The host is none of our own, and would be spoken to in the clear or
            has an address that isn't public.
        OSError: The name stands for nothing.
    """
    is_ours = bool({host, f"{host}:{port}"} & frozenset(internal))
    if not tls and not is_ours:
        raise AddressRefusedError(f"{host} would be spoken to without TLS")
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]).partition("%")[0] for one in found]
    if not is_ours and not all(map(is_public, addresses)):
        raise AddressRefusedError(f"{host} is not public")
    return addresses[0]


class Outgoing:
    """Sends requests to public hosts over TLS, and to our own where they are named.

    Args:
        internal: Hosts (`host` or `host:port`) of our own network; they may have private
            addresses and do without TLS. Everything else must be public and speak TLS.
        needs_tls: False where only public pages are looked at, and nothing of ours is sent.
    """

    def __init__(self, internal: Collection[str] = (), *, needs_tls: bool = True) -> None:
        self._internal = frozenset(internal)
        self._needs_tls = needs_tls
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=PATIENCE,
            # A kept connection is known by its address alone: it would serve another host there,
            # whose certificate nobody has checked.
            limits=httpx.Limits(max_connections=20, max_keepalive_connections=0),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answered:
        """Send one request and return its answer.

        Raises:
            AddressRefusedError: The address is neither public with TLS nor one of our own.
            NotSentError: Nobody was reached.
            httpx.HTTPError: The request may have arrived.
        """
        target = httpx.URL(url, params=params) if params else httpx.URL(url)
        address = await self._address(target)
        host = target.netloc.decode("ascii")
        pinned = target.copy_with(host=address)
        extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
        try:
            async with self._client.stream(
                method,
                pinned,
                content=content,
                headers={**(headers or {}), "host": host},
                extensions=extensions,
            ) as answer:
                received = bytearray()
                async for piece in answer.aiter_bytes():
                    received += piece
                    if len(received) > LONGEST_ANSWER:
                        raise httpx.DecodingError("the answer is too long")
                return Answered(answer.status_code, bytes(received))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(type(error).__name__) from None

    async def _address(self, target: httpx.URL) -> str:
        """Return the one address to speak to, judged."""
        if target.userinfo or not target.host or target.scheme not in ("http", "https"):
            raise AddressRefusedError("not a plain web address")
        tls = target.scheme == "https"
        try:
            return await judged(
                target.host, target.port or (443 if tls else 80), self._internal,
                tls=tls or not self._needs_tls,
            )  # fmt: skip
        except OSError:
            raise NotSentError("the name is not known") from None
