"""Send a message to an address that somebody registered, without being led astray (design, Edges).

The name is resolved once, every address it stands for is checked, and the connection goes to the
one that was checked. Nothing is followed, hardly anything is read, and all of it within a limit.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import httpcore

from activities.outgoing import AddressRefusedError, judged
from review.addresses import wrong_with_url

PATIENCE = 10.0  # seconds for a whole try; shorter than a message's lease
AGENT = b"sanshen"


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a try: the answer's status, or why there was none, and how long it took."""

    status: int = 0
    error: str = ""  # a code: address_refused, unresolved, timeout, tls, unreachable, protocol
    took: int = 0  # milliseconds
    wait: timedelta | None = None  # what the receiver asks for

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked, whatever the name stands for by now."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return await self._inner.connect_tcp(
            self._address, port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class Poster:
    """Posts to registered addresses, each time over a connection of its own.

    Args:
        internal: Hosts (`host` or `host:port`) of our own network; they may have private
            addresses and do without TLS. Everything else must be public and speak TLS.
        patience: Seconds for a whole try.
    """

    def __init__(self, internal: Collection[str] = (), *, patience: float = PATIENCE) -> None:
        self._internal = frozenset(internal)
        self._patience = patience
        self._tls = ssl.create_default_context()

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Sent:
        """Post once; every failure is a result, and every 3xx is one."""
        began = time.monotonic()
        status, error, wait = 0, "", None
        try:
            async with asyncio.timeout(self._patience):
                status, wait = await self._post(url, body, headers)
        except AddressRefusedError:
            error = "address_refused"
        except (TimeoutError, httpcore.TimeoutException):
            error = "timeout"
        except socket.gaierror:
            error = "unresolved"
        except httpcore.ConnectError as failed:
            error = "tls" if _is_tls(failed) else "unreachable"
        except (httpcore.NetworkError, OSError):
            error = "unreachable"
        except (httpcore.ProtocolError, ValueError):
            error = "protocol"
        return Sent(status, error, int((time.monotonic() - began) * 1000), wait)

    async def _post(
        self, url: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, timedelta | None]:
        if wrong_with_url(url) is not None:
            raise AddressRefusedError("not a plain web address")
        parts = urlsplit(url)
        host, tls = str(parts.hostname), parts.scheme == "https"
        address = await judged(host, parts.port or (443 if tls else 80), self._internal, tls=tls)
        sent = [(b"User-Agent", AGENT), (b"Content-Type", b"application/json")]
        sent += [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, network_backend=_Pinned(address), max_connections=1
            ) as pool,
            pool.stream("POST", url, headers=sent, content=body) as answer,
        ):
            return answer.status, _wait_in(answer)


def _is_tls(failed: BaseException | None) -> bool:
    """Tell whether a connection failed for its certificate or its handshake."""
    while failed is not None and not isinstance(failed, ssl.SSLError):
        failed = failed.__cause__ or failed.__context__
    return failed is not None


def _wait_in(answer: httpcore.Response) -> timedelta | None:
    """Return what a Retry-After in seconds asks for."""
    for name, value in answer.headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 6:
            return timedelta(seconds=int(value))
    return None
