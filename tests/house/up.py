"""The supervisor on the folder given, with small programs in place of worker and web."""

import sys
from pathlib import Path

from starter.embedded import run_up

WEB = """
import http.server, os, socketserver

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(os.environ["SANSHEN_TEMPORAL_ADDRESS"].encode())

socketserver.TCPServer.allow_reuse_address = True
with socketserver.TCPServer(("127.0.0.1", int(os.environ["SANSHEN_WEB_PORT"])), Answer) as server:
    server.serve_forever()
"""
PROGRAMS = {
    "worker": (sys.executable, "-c", "import signal; signal.pause()"),
    "web": (sys.executable, "-c", WEB),
}
BROKEN = {"worker": (sys.executable, "-c", "raise SystemExit(2)"), "web": PROGRAMS["worker"]}


if __name__ == "__main__":
    data, port, kind, *policy = sys.argv[1:]
    programs = BROKEN if kind == "broken" else PROGRAMS
    sys.exit(
        run_up(Path(data), int(port), 0, policy=policy[0] if policy else None, programs=programs)
    )
