"""The web process: `python -m starter.web`."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from review import logs, tracing
from review.notice_ways import named_ways
from review.settings import Settings, SettingsError, load
from review.texts import text
from starter.reviews import opened
from starter.web.app import create_app

STOPS_WITHIN = 4  # seconds for answers under way; the supervisor kills after six
HEADERS_LIMIT = 64 * 1024  # bytes of request line and headers
BACKLOG = 1024


class Server(uvicorn.Server):
    """uvicorn's, which leaves signals to us: it would raise them again when it has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Take no more requests, finish those under way; told twice, finish nothing."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(settings: Settings, listening: socket.socket) -> None:
    """Answer until SIGINT or SIGTERM; answers under way are finished."""
    async with opened(settings) as (reviews, access):
        app = create_app(reviews, access, settings)
        server = Server(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                server_header=False,
                lifespan="off",
                ws="none",
                proxy_headers=False,
                timeout_graceful_shutdown=STOPS_WITHIN,
                h11_max_incomplete_event_size=HEADERS_LIMIT,
            )
        )
        app.state.stopping = lambda: server.should_exit
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        await server.serve([listening])
    await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without


def listening_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # asyncio does this for sockets it makes itself; without it every answer waits 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def main() -> int:
    """Run the web process; 2 for a wrong setting, 3 when the address can't be had."""
    try:
        settings = load()
        named_ways(settings)  # a wrong one ends the start
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(settings.log_format, settings.log_level)
    tracing.begin(settings.otlp_url, "sanshen-web")
    try:
        listening = listening_on(settings.web_host, settings.web_port)
    except OSError as error:
        address = f"{settings.web_host}:{settings.web_port}"
        why = error.strerror or str(error)
        print(
            text("web.address_taken", settings.language, address=address, why=why), file=sys.stderr
        )
        return 3
    with listening:
        uvloop.run(serve(settings, listening))
    tracing.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
