"""A real web hook in this process that hears messages, and refuses, stalls or fails as told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Room:
    """What came, by path, and what the next requests are answered.

    Attributes:
        statuses: What the next requests are answered, one each; 200 when there is none left.
        at: What a path is always answered.
        stalls: Whether requests wait until `go_on` is set.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.asked = 0
        self.statuses: list[int] = []
        self.at: dict[str, int] = {}
        self.stalls = False
        self.go_on = threading.Event()
        self.host = ""

    def to(self, path: str) -> list[dict[str, Any]]:
        return [message for where, message in self.heard if where == path]


@contextmanager
def serving(room: Room) -> Iterator[str]:
    """Serve until the end; yield `host:port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            room.asked += 1
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if room.stalls:
                room.go_on.wait(10)
            status = room.at.get(self.path) or (room.statuses.pop(0) if room.statuses else 200)
            if status < 300:
                room.heard.append((self.path, json.loads(body)))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://{room.host}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    room.host = f"127.0.0.1:{server.server_port}"
    try:
        yield room.host
    finally:
        room.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
