"""A small HTTP/1.1 client on kept connections: it must not eat the machine that it measures."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
KEPT = 3.0  # seconds; the server closes what is idle for five


class Caller:
    """Calls one web address as one person."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._url = ""
        self._idle: list[tuple[float, Connection]] = []

    async def call(
        self,
        url: str,
        method: str,
        path: str,
        body: Any = None,
        key: str = "",
        wait_seconds: float = 15,
    ) -> tuple[int, Any]:
        """Return status and body of the answer.

        Raises:
            OSError: Nobody answered, or the answer broke off: whether it counted is not known.
        """  # fmt: skip
        if url != self._url:
            self.close()
            self._url = url
        host, _, port = url.removeprefix("http://").partition(":")
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host}:{port}",
            f"Authorization: Bearer {self._token}",
            f"Content-Length: {len(content)}",
            "Content-Type: application/json",
        ]
        if key:
            lines.append(f"Idempotency-Key: {key}")
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + content
        try:
            async with asyncio.timeout(wait_seconds):
                return await self._exchange(host, int(port), request)
        except (TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
            raise ConnectionError(type(error).__name__) from error

    async def _exchange(self, host: str, port: int, request: bytes) -> tuple[int, Any]:
        while self._idle and self._idle[0][0] < time.monotonic() - KEPT:
            self._idle.pop(0)[1][1].close()
        if self._idle:
            reader, writer = self._idle.pop()[1]
        else:
            reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split()[1])
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((time.monotonic(), (reader, writer)))
        is_json = "json" in headers.get("content-type", "")
        return status, json.loads(raw) if is_json and raw else raw

    def close(self) -> None:
        """Close what is idle."""
        for _, (_, writer) in self._idle:
            with suppress(OSError, RuntimeError):
                writer.close()
        self._idle.clear()
