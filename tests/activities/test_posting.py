"""Messages to registered addresses: what is never connected to, followed, read or waited for."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from activities.outgoing import AddressRefusedError, judged
from activities.posting import Poster
from review.addresses import is_public, wrong_with_url

LOOPBACK = ("127.0.0.1", "oa.example")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:7f00:1::", "fec0::1", "nonsense", "",
    ],
)  # fmt: skip
def test_addresses_of_the_house_are_never_sent_to(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_are(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "", "oa", "//oa/x", "ftp://oa/x", "file:///etc/passwd", "http://", "http:///x",
        "http://user:pw@oa/x", "http://user@oa/x", "http://oa/x#y", "http://oa:99999/",
        "http://oa:x/", "http://oa:0/", "http://oa/ x", "http://oa\\@evil/", "http://oa/\r\nX: y",
        "http://局/x", "http://oa/" + "x" * 2_000, "javascript:alert(1)", "http://[::1/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_not_registered(url):
    assert wrong_with_url(url) == "url_malformed"


async def posted(url: str, poster: Poster | None = None) -> tuple[int, str]:
    sent = await (poster or Poster(LOOPBACK)).post(url, b"{}", {"webhook-id": "m1"})
    return sent.status, sent.error


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/", "https://127.0.0.1:1/", "https://localhost:1/", "https://[::1]:1/",
        "http://2130706433:1/", "http://0x7f.1:1/", "https://169.254.169.254/latest/meta-data/",
        "http://0:1/", "https://[::ffff:127.0.0.1]:1/",
    ],
)  # fmt: skip
async def test_nothing_inside_is_reached_however_it_is_written(url):
    assert await posted(url, Poster()) == (0, "address_refused")


async def test_plain_http_leaves_the_house_for_nobody():
    assert await posted("http://8.8.8.8/", Poster(LOOPBACK)) == (0, "address_refused")


async def test_a_host_is_ours_by_its_port_too():
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, _):
        url = f"http://127.0.0.1:{port}/"
        assert await posted(url, Poster([f"127.0.0.1:{port}"])) == (204, "")
        assert await posted(url, Poster(["127.0.0.1:1"])) == (0, "address_refused")


async def test_one_forbidden_address_among_those_of_a_name_is_enough(monkeypatch):
    async def both(*_args: Any, **_more: Any) -> Any:
        return [(0, 0, 0, "", ("8.8.8.8", 443)), (0, 0, 0, "", ("127.0.0.1", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)

    with pytest.raises(AddressRefusedError):
        await judged("rebound.example", 443, (), tls=True)


async def test_connection_goes_to_the_address_that_was_checked(monkeypatch):
    """A name that stands for something else a moment later changes nothing."""
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (port, seen):
        asked = []

        async def once(host: str, *_args: Any, **_more: Any) -> Any:
            asked.append(host)
            return [(0, 0, 0, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", once)

        assert await posted(f"http://oa.example:{port}/todos?x=1") == (204, "")
    assert asked == ["oa.example"]
    assert seen[0].startswith(b"POST /todos?x=1 HTTP/1.1\r\nHost: oa.example")
    assert b"webhook-id: m1" in seen[0]


@contextmanager
def answering(answer: bytes, hold: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """Run a server that says the same bytes to everybody."""
    listening = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                seen.append(connection.recv(65_536))
                time.sleep(hold)
                with suppress(OSError):
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], seen
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


async def test_redirects_are_results_and_not_followed():
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as (port, seen):
        assert await posted(f"http://127.0.0.1:{port}/") == (302, "")
    assert len(seen) == 1


async def test_endless_answer_is_not_read_and_a_silent_one_not_waited_for():
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 100_000
    with answering(endless) as (port, _):
        assert await posted(f"http://127.0.0.1:{port}/") == (200, "")
    with answering(b"", hold=2) as (port, _):
        patient = Poster(LOOPBACK, patience=0.3)
        assert await posted(f"http://127.0.0.1:{port}/", patient) == (0, "timeout")


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"\x00" * 50, b"SSH-2.0-x\r\n", b"HTTP/1.1 xx\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_junk_for_an_answer_is_a_failure_and_never_an_error(junk):
    with answering(junk) as (port, _):
        status, error = await posted(f"http://127.0.0.1:{port}/")
    assert status == 0 and error in ("protocol", "unreachable")


async def test_nobody_there_and_no_such_name_and_no_true_certificate():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert await posted(f"http://127.0.0.1:{port}/") == (0, "unreachable")
    assert await posted("https://no-such-host.invalid/") == (0, "unresolved")
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (port, _):
        assert await posted(f"https://127.0.0.1:{port}/") == (0, "tls")


async def test_retry_after_is_heard():
    with answering(b"HTTP/1.1 503 Later\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n") as (
        port,
        _,
    ):
        sent = await Poster(LOOPBACK).post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert sent.wait is not None and sent.wait.total_seconds() == 120 and not sent.taken
